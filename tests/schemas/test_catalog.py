"""The catalog: the 42 actions, the checks, the sentences, the redaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from auditlog_schemas.catalog import Action, Catalog
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.errors import InvalidEvent, UnknownAction
from auditlog_schemas.event import AuditEvent
from auditlog_schemas.record import Record
from kit.event_strategies import full_record

ACTIONS = {
    "Platform Users": ["platform_user_added", "platform_user_updated", "platform_user_removed"],
    "Permissions Template for Platform Users": [
        "user_permission_template_created",
        "user_permission_template_updated",
        "user_permission_template_permissions_set",
        "user_permission_template_deleted",
    ],
    "Email Notifications": [
        "notification_policy_created",
        "notification_policy_updated",
        "notification_policy_deleted",
    ],
    "Products": [
        "product_created",
        "product_updated",
        "product_activated",
        "product_deactivated",
        "product_archived",
        "product_unarchived",
        "product_deleted",
    ],
    "Customers": ["customer_created", "customer_updated", "customer_deleted"],
    "Orders": [
        "order_created",
        "order_updated",
        "order_manager_added",
        "order_manager_removed",
        "order_deleted",
    ],
    "Licenses": [
        "license_created",
        "license_updated",
        "license_reset",
        "license_disabled",
        "license_enabled",
        "license_consumption_reset",
        "license_user_assigned",
        "license_user_unassigned",
        "license_features_updated",
        "license_deleted",
        "license_custom_field_created",
        "license_custom_field_updated",
        "license_custom_field_deleted",
    ],
    "Devices": ["device_reset", "device_blacklisted", "device_borrowed", "device_borrow_released"],
}
OWN_ACTIONS = [
    "audit_token_created",
    "audit_token_revoked",
    "audit_export_created",
    "audit_export_downloaded",
    "audit_export_cancelled",
    "audit_export_deleted",
    "audit_log_read",
]
CATALOG = load_catalog()


def record_for(action: Action) -> Record:
    """Return a record that has just what the action needs."""
    return full_record() | {
        "action": action.name,
        "entity": {"type": action.entity_type, "id": "item_1", "name": "Item One"},
        "related": [{"type": t, "id": f"{t}_1", "name": None} for t in action.required_related],
        "changes": full_record()["changes"] if action.changes_required else [],
        "metadata": {key: f"some {key}" for key in action.required_metadata},
    }


def event_of(record: Record) -> AuditEvent:
    micros = record["occurred_at"]
    return AuditEvent.parse(record | {"occurred_at": datetime.fromtimestamp(micros // 1_000_000, UTC)})


def test_the_42_actions_in_their_groups_and_then_our_own() -> None:
    found: dict[str, list[str]] = {}
    for action in CATALOG.actions.values():
        found.setdefault(action.group, []).append(action.name)
    assert sum(map(len, ACTIONS.values())) == 42
    assert list(found.items()) == [*ACTIONS.items(), ("Audit Log", OWN_ACTIONS)]


def test_every_action_acts_on_the_entity_its_name_begins_with() -> None:
    for action in CATALOG.actions.values():
        assert action.name.startswith(action.entity_type)


@pytest.mark.parametrize("action", CATALOG.actions.values(), ids=lambda action: action.name)
def test_every_action_accepts_what_it_asks_for(action: Action) -> None:
    record = record_for(action)
    CATALOG.check(record)
    sentence = CATALOG.sentence(event_of(record))
    assert sentence.startswith("Ada ")
    assert "Item One" in sentence
    assert "?" not in sentence
    assert "{" not in sentence


BROKEN: list[tuple[str, str, dict[str, Any]]] = [
    ("unknown_action", "license_updated", {"action": "license_eaten"}),
    ("unknown_action_version", "license_updated", {"action_version": 2}),
    ("wrong_entity_type", "license_updated", {"entity": {"type": "order", "id": "1", "name": None}}),
    ("changes_missing", "license_updated", {"changes": []}),
    ("metadata_missing", "order_manager_added", {"metadata": {"Manager": "x"}}),
    ("related_missing", "device_reset", {"related": [{"type": "order", "id": "1", "name": None}]}),
    ("unknown_related_type", "license_reset", {"related": [{"type": "li/cense", "id": "1", "name": None}]}),
]


@pytest.mark.parametrize(("rule", "action", "change"), BROKEN)
def test_a_broken_rule_is_named(rule: str, action: str, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidEvent) as caught:
        CATALOG.check(record_for(CATALOG.actions[action]) | change)
    assert caught.value.rule == rule


def test_rules_are_checked_in_their_order() -> None:
    """Each record breaks its rule and every one after it."""
    device = replace(
        CATALOG.actions["device_reset"], changes_required=True, required_metadata=("reason",), version=1
    )
    catalog = Catalog({"device_reset": device}, CATALOG.entity_types)
    record = record_for(device)
    for rule, _, change in reversed(BROKEN):
        broken = {"metadata": {}} if rule == "metadata_missing" else change
        if rule == "unknown_related_type":
            license = {"type": "license", "id": "1", "name": None}
            broken = {"related": [license, *change["related"]]}
        elif rule == "related_missing":
            broken = {"related": [{"type": "li/cense", "id": "1", "name": None}]}
        record = record | broken
        with pytest.raises(InvalidEvent) as caught:
            catalog.check(record)
        assert caught.value.rule == rule


def test_unknown_actions_and_versions_have_a_class_of_their_own() -> None:
    for change in ({"action": "x"}, {"action_version": 99}):
        with pytest.raises(UnknownAction):
            CATALOG.check(full_record() | change)


def test_a_sentence_uses_ids_where_names_are_absent() -> None:
    record = record_for(CATALOG.actions["device_reset"])
    record["actor"] |= {"name": None}
    record["entity"] |= {"name": None}
    assert CATALOG.sentence(event_of(record)) == "usr_1 reset device item_1 of license license_1"


def test_an_action_that_left_the_catalog_still_has_a_sentence() -> None:
    record = full_record() | {"action": "license_eaten"}
    assert CATALOG.sentence(event_of(record)) == "Ada did license_eaten on Pro seat"


def test_sensitive_values_are_redacted_and_absent_ones_stay_absent() -> None:
    record = record_for(CATALOG.actions["customer_updated"]) | {
        "changes": [
            {"field": "password", "before": None, "after": '"hunter2"'},
            {"field": "city", "before": '"Oslo"', "after": '"Bergen"'},
        ],
        "metadata": {"password": "hunter2", "source": "web"},
    }
    redacted = CATALOG.redact(record)
    assert redacted["changes"] == [
        {"field": "password", "before": None, "after": '"[redacted]"'},
        {"field": "city", "before": '"Oslo"', "after": '"Bergen"'},
    ]
    assert redacted["metadata"] == {"password": "[redacted]", "source": "web"}
    assert record["metadata"]["password"] == "hunter2"


def test_the_version_changes_with_any_action() -> None:
    assert load_catalog().version == CATALOG.version
    assert len(CATALOG.version) == 12
    reset = CATALOG.actions["license_reset"]
    other = Catalog({**CATALOG.actions, reset.name: replace(reset, version=2)}, CATALOG.entity_types)
    assert other.version != CATALOG.version

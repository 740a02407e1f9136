"""An event as JSON: whatever is printed can be published again."""

import json
from typing import Any

import pytest

from auditlog_cli.event_input import parse_event
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.event import AuditEvent, Change
from auditlog_storage.event_json import published_json

SMALLEST: dict[str, Any] = {
    "account_id": "acc_1",
    "action": "license_reset",
    "entity": {"type": "license", "id": "lic_1"},
    "actor": {"type": "platform_user", "id": "usr_1"},
}


def with_changes(*changes: dict[str, Any]) -> AuditEvent:
    return parse_event(SMALLEST | {"changes": list(changes)})


def test_missing_id_time_and_source_are_filled_in() -> None:
    first, second = parse_event(SMALLEST), parse_event(SMALLEST)
    assert first.event_id != second.event_id
    assert first.occurred_at.tzinfo is not None
    assert "source" not in SMALLEST


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("5", "5"),
        ('"5"', '"5"'),
        ("null", "null"),
        ('{"a": 1}', '{"a": 1}'),
        (None, None),
        (5, "5"),
        (True, "true"),
        ([1, "a"], '[1,"a"]'),
        ("active", '"active"'),
        ("007", '"007"'),
        ("", '""'),
        ("NaN", '"NaN"'),
        ("\x1b[31m", '"\\u001b[31m"'),
    ],
)
def test_before_and_after_become_json_text(given: object, text: str | None) -> None:
    event = with_changes({"field": "f", "before": given}, {"field": "g", "after": given})
    assert event.changes == (Change(field="f", before=text), Change(field="g", after=text))


def test_what_is_printed_is_read_back_as_it_was() -> None:
    event = with_changes({"field": "f", "before": "5", "after": {"n": 10**30}}, {"field": "g"})
    assert parse_event(json.loads(json.dumps(published_json(event)))) == event


def test_the_models_own_json_is_read_too() -> None:
    # What a service writes to its spool when delivery failed, see docs/publishing.md.
    event = with_changes({"field": "f", "before": "5", "after": '"x"'})
    assert parse_event(json.loads(event.model_dump_json())) == event


def test_what_storing_adds_is_skipped_when_read_back() -> None:
    event = parse_event(SMALLEST)
    stored = published_json(event) | {"received_at": "2026-01-01T00:00:00Z", "kafka": {"partition": 1}}
    assert parse_event(stored) == event


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"color": 1}, "color"),
        ({"changes": [1]}, "changes.0"),
        ({"changes": [{"before": 1}]}, "changes.0.field"),
        ({"actor": {"type": "robot", "id": "r"}}, "actor.type"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"entity": {"type": "license", "id": ""}}, "entity.id"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        parse_event(SMALLEST | change)
    assert caught.value.field == field


@pytest.mark.parametrize("depth", [2_000, 200_000])
@pytest.mark.parametrize(
    "place", ["event_id", "metadata", "a value of metadata", "changes", "before", "unknown"]
)
def test_what_is_nested_too_deep_is_a_wrong_field_too(place: str, depth: int) -> None:
    """How deep JSON may be differs between Pythons, for reading and again for writing."""
    deep: Any = 1
    for _ in range(depth):
        deep = {"a": deep}
    inside: dict[str, dict[str, Any]] = {
        "a value of metadata": {"metadata": {"k": deep}},
        "before": {"changes": [{"before": deep}]},
    }
    with pytest.raises(InvalidEvent) as caught:
        parse_event(SMALLEST | inside.get(place, {place: deep}))
    assert len(str(caught.value)) < 300

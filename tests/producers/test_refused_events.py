"""Events that `publish` refuses: nothing is sent, no number is used, the field is named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from auditlog_producers import (
    Actor,
    AuditEvent,
    AuditProducer,
    Change,
    Entity,
    InvalidEvent,
    load_catalog,
)
from auditlog_schemas.errors import FieldLimitExceeded, UnknownAction
from kit.producing import MakeEvent

UNCHECKED: list[tuple[dict[str, Any], str, str]] = [
    ({"account_id": ""}, "id_empty", "account_id"),
    ({"account_id": "a" * 257}, "id_too_long", "account_id"),
    ({"account_id": "a\nb"}, "id_control_character", "account_id"),
    ({"account_id": "a\ud800"}, "bad_utf8", "account_id"),
    ({"account_id": None}, "wrong_type", "account_id"),
    ({"account_id": 7}, "wrong_type", "account_id"),
    ({"event_id": "not-a-uuid"}, "bad_uuid", "event_id"),
    ({"occurred_at": datetime(2026, 1, 1)}, "wrong_type", "occurred_at"),
    ({"occurred_at": datetime(1999, 12, 31, tzinfo=UTC)}, "occurred_too_early", "occurred_at"),
    ({"action": "license_resett"}, "unknown_action", "action"),
    ({"action_version": 2}, "unknown_action_version", "action_version"),
    ({"action_version": "1"}, "wrong_type", "action_version"),
    ({"entity": Entity.model_construct(type="order", id="x")}, "wrong_entity_type", "entity.type"),
    ({"entity": Entity.model_construct(type="license", id="")}, "id_empty", "entity.id"),
    ({"entity": Entity.model_construct(type="license", id="x", name=5)}, "wrong_type", "entity.name"),
    ({"entity": None}, "wrong_type", "entity"),
    ({"actor": Actor.model_construct(type="robot", id="x")}, "wrong_type", "actor.type"),
    ({"actor": Actor.model_construct(type="system", id="x", name="\ud800")}, "bad_utf8", "actor.name"),
    ({"related": (Entity(type="order", id="x"),) * 21}, "too_many_related", "related"),
    ({"changes": (Change(field="x"),) * 201}, "too_many_changes", "changes"),
    ({"changes": None}, "wrong_type", "changes"),
    ({"metadata": {"k": "v" * 501}}, "metadata_value_too_long", "metadata['k']"),
    ({"metadata": {"k\ud800": "v"}}, "bad_utf8", "metadata['k\\ud800']"),
    ({"metadata": {"k": 5}}, "wrong_type", "metadata.k"),
    ({"metadata": {str(i): "" for i in range(51)}}, "too_many_metadata_keys", "metadata"),
]


@pytest.fixture(scope="module")
def producer(mock_kafka: str) -> Iterator[AuditProducer]:
    """One for the module: a new idempotent producer needs half a second before its first message."""
    with AuditProducer(mock_kafka, service="licensing") as producer:
        yield producer


@pytest.mark.parametrize(("fields", "rule", "field"), UNCHECKED, ids=[f"{r}-{f}" for _, r, f in UNCHECKED])
def test_events_made_without_checks_do_not_slip_through(
    fields: dict[str, Any], rule: str, field: str, producer: AuditProducer, make_event: MakeEvent
) -> None:
    good = make_event()
    values = {name: getattr(good, name) for name in AuditEvent.model_fields}
    before = producer.stats
    with pytest.raises(InvalidEvent) as caught:
        producer.publish(AuditEvent.model_construct(**values | fields))
    assert (caught.value.rule, caught.value.field) == (rule, field)
    assert producer.stats.invalid == before.invalid + 1
    assert producer.publish(good).sequence == before.accepted + 1


def test_record_names_the_field_too(producer: AuditProducer, parts: dict[str, Any]) -> None:
    before = producer.stats.invalid
    with pytest.raises(FieldLimitExceeded, match=r"entity\.id: is empty"):
        producer.record(**parts | {"entity": Entity(type="license", id="")})
    with pytest.raises(InvalidEvent, match=r"account_id: .*got 7"):
        producer.record(**parts | {"account_id": 7})
    with pytest.raises(UnknownAction, match="license_resett"):
        producer.record(**parts | {"action": "license_resett"})
    assert producer.stats.invalid == before + 3


def test_metadata_changed_after_the_event_was_made_is_checked(
    producer: AuditProducer, make_event: MakeEvent
) -> None:
    event = make_event()
    event.metadata["note"] = "x" * 501
    with pytest.raises(FieldLimitExceeded, match=r"metadata\['note'\]"):
        producer.publish(event)


def test_a_message_over_256_kib_is_refused(producer: AuditProducer, parts: dict[str, Any]) -> None:
    big = [Change(field=f"f{i}", after="x" * 32_000) for i in range(8)]
    assert producer.record(**parts, changes=big).result(60)
    with pytest.raises(FieldLimitExceeded) as caught:
        producer.record(**parts, changes=[*big, Change(field="last", after="x" * 10_000)])
    assert caught.value.rule == "message_too_large"
    assert producer.record(**parts).sequence == producer.stats.accepted


def test_a_clock_more_than_five_minutes_ahead_is_refused(
    producer: AuditProducer, parts: dict[str, Any]
) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=5, seconds=5)
    with pytest.raises(InvalidEvent) as caught:
        producer.record(**parts, occurred_at=ahead)
    assert (caught.value.rule, caught.value.field) == ("occurred_too_far_ahead", "occurred_at")
    producer.record(**parts, occurred_at=ahead - timedelta(seconds=10)).result(60)


def test_the_producers_own_catalog_counts(mock_kafka: str, tmp_path: Any, parts: dict[str, Any]) -> None:
    extra = tmp_path / "extra.toml"
    extra.write_text(
        '[actions.license_frozen]\ngroup = "Licenses"\nentity_type = "license"\nkind = "disabled"\n'
        'sentence = "{actor} froze license {entity}"\n'
    )
    with AuditProducer(mock_kafka, service="s", catalog=load_catalog([extra])) as producer:
        producer.record(**parts | {"action": "license_frozen"}).result(60)

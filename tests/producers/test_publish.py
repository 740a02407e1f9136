"""What `record`, `publish` and `forward` put into Kafka."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from auditlog_producers import AuditEvent, AuditProducer, Change, Context, Entity, Source
from auditlog_producers.checked_event import decoded
from auditlog_schemas.codec import EVENT_FINGERPRINT
from kit.producing import MakeEvent, Read


def test_record_fills_in_id_time_and_source(
    producer: AuditProducer, mock_kafka: str, topic: str, parts: dict[str, Any], read: Read
) -> None:
    before = datetime.now(UTC)
    handle = producer.record(
        **parts,
        related=[Entity(type="order", id="ord_1")],
        changes=[Change.of("activations", 3, 0)],
        metadata={"reason": "new laptop"},
        context=Context(ip="203.0.113.9", request_id="req-1"),
    )
    delivered = handle.result(60)
    [message] = read(mock_kafka, topic, 1)
    event = decoded(message.value() or b"")
    assert (delivered.topic, delivered.partition, delivered.offset) == (topic, message.partition(), 0)
    assert isinstance(delivered.timestamp, datetime)
    assert handle.done()
    assert handle.error is None
    assert event.event_id == handle.event_id
    assert event.event_id.version == 7
    assert before - timedelta(milliseconds=1) <= event.occurred_at <= datetime.now(UTC)
    assert event.source == Source(service="licensing", instance_id=producer.instance_id, sequence=1)
    assert event.related == (Entity(type="order", id="ord_1"),)
    assert event.changes == (Change(field="activations", before="3", after="0"),)
    assert event.metadata == {"reason": "new laptop"}
    assert event.context.ip == "203.0.113.9"


def test_the_message_is_keyed_by_account_framed_as_single_object_and_has_no_headers(
    producer: AuditProducer, mock_kafka: str, topic: str, parts: dict[str, Any], read: Read
) -> None:
    producer.record(**parts | {"account_id": "Münster"}).result(60)
    [message] = read(mock_kafka, topic, 1)
    assert message.key() == "Münster".encode()
    assert (message.value() or b"")[:10] == b"\xc3\x01" + EVENT_FINGERPRINT
    assert not message.headers()


def test_publish_puts_its_own_source_and_forward_keeps_the_events(
    producer: AuditProducer, mock_kafka: str, topic: str, make_event: MakeEvent, read: Read
) -> None:
    first, second, third = make_event(), make_event(), make_event()
    handles = [producer.publish(first), producer.forward(second), producer.publish(third)]
    assert [handle.sequence for handle in handles] == [1, 77, 2]
    assert producer.flush(10) == 0
    events = {event.event_id: event for event in map(_event, read(mock_kafka, topic, 3))}
    own = {"service": "licensing", "instance_id": producer.instance_id}
    assert events[first.event_id] == first.model_copy(update={"source": Source(**own, sequence=1)})
    assert events[second.event_id] == second
    assert events[third.event_id].source.sequence == 2
    assert first.source.service == "elsewhere"


def test_sensitive_values_never_leave_the_service(
    producer: AuditProducer, mock_kafka: str, topic: str, parts: dict[str, Any], read: Read
) -> None:
    producer.record(
        **parts | {"action": "customer_updated", "entity": Entity(type="customer", id="cus_1")},
        changes=[Change.of("password", "hunter2", "hunter3"), Change.of("name", "A", "B")],
    ).result(60)
    [message] = read(mock_kafka, topic, 1)
    assert b"hunter" not in (message.value() or b"")
    assert _event(message).changes[0].after == '"[redacted]"'
    assert _event(message).changes[1].after == '"B"'


def test_partitions_agree_with_javas_murmur2(
    producer: AuditProducer, parts: dict[str, Any], java_murmur2: Callable[[bytes], int]
) -> None:
    accounts = ["a", "ab", "abc", "abcd", "🦊 Füchse", "x" * 256, *(f"acc_{number}" for number in range(50))]
    handles = [producer.record(**parts | {"account_id": account}) for account in accounts]
    for account, handle in zip(accounts, handles, strict=True):
        assert handle.result(60).partition == (java_murmur2(account.encode()) & 0x7FFFFFFF) % 4


def test_one_accounts_events_keep_their_order(
    producer: AuditProducer, mock_kafka: str, topic: str, parts: dict[str, Any], read: Read
) -> None:
    handles = [producer.record(**parts) for _ in range(500)]
    assert producer.flush(20) == 0
    messages = read(mock_kafka, topic, 500)
    assert len({message.partition() for message in messages}) == 1
    assert [_event(message).event_id for message in messages] == [handle.event_id for handle in handles]


def test_the_given_id_and_time_are_kept(producer: AuditProducer, parts: dict[str, Any]) -> None:
    wanted = UUID("0192f3a4-0000-7000-8000-00000000abcd")
    handle = producer.record(**parts, event_id=wanted, occurred_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert handle.event_id == wanted
    assert "pending" in repr(handle) or "Delivered" in repr(handle)


def test_stats_add_up(producer: AuditProducer, parts: dict[str, Any]) -> None:
    for _ in range(10):
        producer.record(**parts)
    stats = producer.stats
    assert stats.accepted == 10 == stats.delivered + stats.failed + stats.in_flight
    assert producer.flush(10) == 0
    assert (producer.stats.delivered, producer.stats.in_flight) == (10, 0)


def _event(message: Any) -> AuditEvent:
    return decoded(message.value())

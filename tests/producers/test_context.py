"""What came with a request is recorded, whatever it is; what the caller's own code does wrong is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog_producers import Actor, AuditEvent, AuditProducer, Context, Entity, InvalidEvent, PublishHandle

FORWARDED = ", ".join(f"198.51.{number // 250}.{number % 250}" for number in range(5_000))
HEADERS: list[Any] = [
    FORWARDED,
    FORWARDED.encode(),
    "unknown, _hidden, [2001:db8::1]:443, 999.0.0.1",
    "x" * 257,
    "00-" + "0" * 1_000,
    "id\r\nX-Injected: 1",
    "\x00",
    "caf\udce9",
    b"caf\xe9",
    b"\xff" * 2_000,
    "\ud83d",
    "",
]


@pytest.fixture(scope="module")
def producer(mock_kafka: str) -> Iterator[AuditProducer]:
    with AuditProducer(mock_kafka, service="licensing") as producer:
        yield producer


def record(producer: AuditProducer, context: Any, **more: Any) -> PublishHandle:
    return producer.record(
        account_id="acc_1",
        action="license_reset",
        entity=Entity(type="license", id="lic_1"),
        actor=Actor(type="customer", id="cus_1"),
        context=context,
        **more,
    )


@pytest.mark.parametrize("name", ["ip", "user_agent", "request_id"])
@pytest.mark.parametrize("header", HEADERS, ids=lambda header: repr(header)[:20])
def test_a_header_makes_no_event_fail(producer: AuditProducer, name: str, header: Any) -> None:
    for context in (Context(**{name: header}), {name: header}):
        assert record(producer, context).result(30)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(*(st.none() | st.text(st.characters(), max_size=2_000) | st.binary(max_size=2_000) for _ in range(3)))
def test_no_text_and_no_bytes_make_an_event_fail(
    producer: AuditProducer, ip: Any, user_agent: Any, request_id: Any
) -> None:
    context = Context(ip=ip, user_agent=user_agent, request_id=request_id)
    handle = record(producer, context)
    assert handle.error is None
    stored = AuditEvent.model_validate_json(AuditEvent.parse(_event(context)).model_dump_json())
    assert producer.publish(stored).error is None, "as from an outbox"


def _event(context: Context) -> dict[str, Any]:
    return {
        "event_id": "0198f2a0-7c1e-7abc-8def-0123456789ab",
        "account_id": "acc_1",
        "occurred_at": "2026-11-01T09:30:00Z",
        "action": "license_reset",
        "entity": {"type": "license", "id": "lic_1"},
        "source": {"service": "s", "instance_id": "i", "sequence": 0},
        "actor": {"type": "customer", "id": "cus_1"},
        "context": context,
    }


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"context": {"ip": 7}}, "context.ip"),
        ({"context": {"user_agent": ["curl"]}}, "context.user_agent"),
        ({"context": {"request_id": {"id": "x"}}}, "context.request_id"),
        ({"context": {"address": "203.0.113.9"}}, "context.address"),
        ({"context": "203.0.113.9"}, "context"),
        ({"context": Context(), "metadata": {"note": "x" * 501}}, "metadata['note']"),
    ],
)
def test_what_the_callers_code_does_wrong_is_refused_by_its_field(
    producer: AuditProducer, changed: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidEvent) as refused:
        record(producer, **changed)
    assert refused.value.field == field

"""Valid events to start from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from auditlog_schemas.event import Actor, AuditEvent, Change, Context, Entity, Source, new_event_id
from auditlog_schemas.record import Record


def make_event(**changed: Any) -> AuditEvent:
    """Return a license_updated event of now, with some fields changed."""
    fields: dict[str, Any] = {
        "event_id": new_event_id(),
        "account_id": "acc_1",
        "occurred_at": datetime.now(UTC),
        "action": "license_updated",
        "entity": Entity(type="license", id="lic_1", name="Pro seat"),
        "related": (Entity(type="order", id="ord_1"),),
        "source": Source(service="tests", instance_id="t-1", sequence=1),
        "actor": Actor(type="platform_user", id="usr_1", name="Ada", email="ada@example.com"),
        "context": Context(ip="10.0.0.1", user_agent="tests/1", request_id="req-1"),
        "changes": (Change.of("valid_until", "2026-01-01", "2027-01-01"),),
        "metadata": {"source": "web"},
    }
    return AuditEvent(**(fields | changed))


def make_record(**changed: Any) -> Record:
    """Return the record of a valid event with some fields changed, valid or not."""
    return make_event().to_record() | changed

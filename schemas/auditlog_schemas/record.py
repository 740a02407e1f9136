"""The record: an event as the plain nested dict that `audit_event.avsc` describes.

Rules, catalog and codec all work on records, so that the SDK (which starts from an `AuditEvent`) and the
consumer (which starts from bytes) run the very same checks. Times are integers: microseconds since
1970-01-01 UTC, which a hostile message may set to a year that `datetime` cannot hold.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from auditlog_schemas.event import AuditEvent

Record: TypeAlias = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MILLIS_MAX = 253_402_300_799_999


def micros_of(time: datetime) -> int:
    """Return an aware datetime as exact microseconds since 1970-01-01 UTC."""
    return (time - _EPOCH) // _MICROSECOND


def time_of(millis: int) -> datetime:
    """Return milliseconds since 1970-01-01 as an aware UTC time: the nearest one from 1970 to the year 9999.

    Kafka's timestamps and what others commit with offsets may be any number.
    """
    return _EPOCH + timedelta(milliseconds=min(max(millis, 0), _MILLIS_MAX))


def to_record(event: AuditEvent) -> Record:
    """Return the record of an event; every field of the Avro schema is present."""
    return {
        "event_id": str(event.event_id),
        "account_id": event.account_id,
        "occurred_at": micros_of(event.occurred_at),
        "action": event.action,
        "action_version": event.action_version,
        "entity": dict(event.entity),
        "related": [dict(item) for item in event.related],
        "source": dict(event.source),
        "actor": dict(event.actor),
        "context": dict(event.context),
        "changes": [dict(change) for change in event.changes],
        "metadata": dict(event.metadata),
    }

"""The JSON of an event, one shape everywhere: API, JSON lines, exports, the command line.

One object, keys as in the Avro record; what is absent or empty is left out:

    {"event_id": "0199…", "account_id": "acc_1", "occurred_at": "2026-11-01T09:30:00.25Z",
     "action": "license_updated", "action_version": 1,
     "entity": {"type": "license", "id": "lic_1", "name": "Pro seat"},
     "related": [{"type": "order", "id": "ord_1"}],
     "source": {"service": "billing", "instance_id": "billing-1", "sequence": 7},
     "actor": {"type": "platform_user", "id": "usr_7", "name": "Ada"},
     "context": {"ip": "10.0.0.1", "request_id": "req_1"},
     "changes": [{"field": "seats", "before": "5", "after": "10"}],
     "metadata": {"source": "web"},
     "received_at": "2026-11-01T09:30:01.125Z",
     "kafka": {"topic_id": "…", "partition": 3, "offset": 1200}}

`before` and `after` are JSON text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auditlog_storage.moments import rfc3339

if TYPE_CHECKING:
    from pydantic import BaseModel

    from auditlog_schemas.event import AuditEvent
    from auditlog_storage.stored_event import StoredEvent

STORED_KEYS: Final = frozenset({"received_at", "kafka"})
"""Keys of what storing adds. Whoever reads an event back skips them, so that it can be published again."""


def event_json(stored: StoredEvent) -> dict[str, Any]:
    """Return a stored event as JSON-like data, with where it came from."""
    return published_json(stored.event) | {
        "received_at": rfc3339(stored.received_at),
        "kafka": {
            "topic_id": str(stored.topic_id),
            "partition": stored.kafka_partition,
            "offset": stored.kafka_offset,
        },
    }


def published_json(event: AuditEvent) -> dict[str, Any]:
    """Return an event as JSON-like data, as its service published it: without the `STORED_KEYS`."""
    whole: dict[str, Any] = {
        "event_id": str(event.event_id),
        "account_id": event.account_id,
        "occurred_at": rfc3339(event.occurred_at),
        "action": event.action,
        "action_version": event.action_version,
        "entity": _present(event.entity),
    }
    if event.related:
        whole["related"] = [_present(item) for item in event.related]
    whole["source"] = _present(event.source)
    whole["actor"] = _present(event.actor)
    if context := _present(event.context):
        whole["context"] = context
    if event.changes:
        whole["changes"] = [_present(change) for change in event.changes]
    if event.metadata:
        whole["metadata"] = dict(event.metadata)
    return whole


def _present(model: BaseModel) -> dict[str, Any]:
    # Four times as fast as iterating the model, and this is most of what a page costs.
    return {name: value for name, value in model.__dict__.items() if value is not None}

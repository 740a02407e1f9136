"""An event as it is stored, with where it came from in Kafka."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from auditlog_schemas.event import AuditEvent


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One row of `audit_events`.

    Attributes:
        event: the event as published; it was checked before it was stored and is not checked again.
        topic_id: Kafka's id of its topic.
        kafka_partition: its partition.
        kafka_offset: its offset.
        received_at: when Kafka took it, by the broker's clock; aware UTC, in milliseconds.
    """

    event: AuditEvent
    topic_id: UUID
    kafka_partition: int
    kafka_offset: int
    received_at: datetime


SELECTED: Final = """
    toString(event_id), account_id, toUnixTimestamp64Micro(occurred_at), action, action_version,
    entity_type, entity_id, entity_name, related, source_service, source_instance_id, source_sequence,
    actor_type, actor_id, actor_name, actor_email, actor_impersonator_id, ip, user_agent, request_id,
    changes, metadata, topic_id, kafka_partition, kafka_offset, received_at
"""
"""What to SELECT for `stored_event`."""


def stored_event(row: tuple[Any, ...]) -> StoredEvent:
    """Return the event of one row of `SELECTED`."""
    event_id, account_id, occurred_at, action, version = row[:5]
    entity_type, entity_id, entity_name, related, service, instance_id, sequence = row[5:12]
    actor_type, actor_id, actor_name, email, impersonator_id, ip, user_agent, request_id = row[12:20]
    changes, metadata, topic_id, kafka_partition, kafka_offset, received_at = row[20:]
    record = {
        "event_id": event_id,
        "account_id": account_id,
        "occurred_at": occurred_at,
        "action": action,
        "action_version": version,
        "entity": {"type": entity_type, "id": entity_id, "name": entity_name},
        "related": related,
        "source": {"service": service, "instance_id": instance_id, "sequence": sequence},
        "actor": {
            "type": actor_type,
            "id": actor_id,
            "name": actor_name,
            "email": email,
            "impersonator_id": impersonator_id,
        },
        "context": {"ip": ip, "user_agent": user_agent, "request_id": request_id},
        "changes": changes,
        "metadata": metadata,
    }
    return StoredEvent(AuditEvent.from_record(record), topic_id, kafka_partition, kafka_offset, received_at)

"""Rows made one by one from records: what the consumer's columns must be equal to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pyarrow as pa

from auditlog_consumer.account_bucket import account_bucket
from auditlog_consumer.partition import Partition
from auditlog_schemas.record import Record
from auditlog_storage.tables import EVENT_ROWS


@dataclass(frozen=True, slots=True)
class Accepted:
    """A valid record and where it was read: offset, and the broker's time in milliseconds since 1970."""

    record: Record
    offset: int
    received_millis: int


def rows_of(partition: Partition, accepted: Sequence[Accepted]) -> pa.RecordBatch:
    """Return one row an accepted record, in the same order, as `EVENT_ROWS`."""
    columns: dict[str, list[Any]] = {name: [] for name in EVENT_ROWS.names}
    for item in accepted:
        for name, value in _row(partition, item).items():
            columns[name].append(value)
    arrays = [pa.array(columns[field.name], field.type) for field in EVENT_ROWS]
    return pa.RecordBatch.from_arrays(arrays, schema=EVENT_ROWS)


def _row(partition: Partition, item: Accepted) -> dict[str, Any]:
    record = item.record
    entity, source, actor, context = (record[k] for k in ("entity", "source", "actor", "context"))
    return {
        "account_bucket": account_bucket(record["account_id"]),
        "account_id": record["account_id"],
        "occurred_at": record["occurred_at"],
        "event_id": UUID(record["event_id"]).bytes,
        "action": record["action"],
        "action_version": record["action_version"],
        "entity_type": entity["type"],
        "entity_id": entity["id"],
        "entity_name": entity["name"],
        "related": record["related"],
        "source_service": source["service"],
        "source_instance_id": source["instance_id"],
        "source_sequence": source["sequence"],
        "actor_type": actor["type"],
        "actor_id": actor["id"],
        "actor_name": actor["name"],
        "actor_email": actor["email"],
        "actor_impersonator_id": actor["impersonator_id"],
        **context,
        "changes": record["changes"],
        "metadata": list(record["metadata"].items()),
        "topic_id": partition.topic_id.bytes,
        "kafka_partition": partition.number,
        "kafka_offset": item.offset,
        "received_at": item.received_millis,
    }

"""Rows: decoded events as a record batch of `audit_events`, column by column, mostly without copying.

Every column is a function of the message alone, so that replaying a range gives the same rows.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from auditlog_consumer.account_bucket import account_bucket
from auditlog_consumer.partition import Partition
from auditlog_storage.tables import EVENT_ROWS

Longs: TypeAlias = npt.NDArray[np.int64]
Column: TypeAlias = Any
"""A pyarrow array; its stubs are too narrow for what is done here."""

_PLAIN: Final = ("event_id", "occurred_at", "action", "action_version", "metadata")
_NESTED: Final = {
    "entity_type": ("entity", "type"),
    "entity_id": ("entity", "id"),
    "entity_name": ("entity", "name"),
    "source_service": ("source", "service"),
    "source_instance_id": ("source", "instance_id"),
    "source_sequence": ("source", "sequence"),
    "actor_type": ("actor", "type"),
    "actor_id": ("actor", "id"),
    "actor_name": ("actor", "name"),
    "actor_email": ("actor", "email"),
    "actor_impersonator_id": ("actor", "impersonator_id"),
    "ip": ("context", "ip"),
    "user_agent": ("context", "user_agent"),
    "request_id": ("context", "request_id"),
}


def to_rows(
    partition: Partition, events: pa.RecordBatch, offsets: Longs, received_millis: Longs
) -> pa.RecordBatch:
    """Return one row an event, in the same order, as `EVENT_ROWS`.

    Args:
        partition: where all of them were read.
        events: n valid events of the event's schema, as `EventDecoder` gives them.
        offsets: their n Kafka offsets.
        received_millis: the broker's time for each, milliseconds since 1970-01-01 UTC.
    """
    count = events.num_rows
    columns: dict[str, Column] = {name: events.column(name) for name in _PLAIN}
    for name, (outer, inner) in _NESTED.items():
        struct: Column = events.column(outer)
        columns[name] = struct.field(inner)
    accounts = events.column("account_id").dictionary_encode()
    columns |= {
        "account_bucket": _buckets(accounts),
        "account_id": accounts,
        "related": events.column("related").cast(EVENT_ROWS.field("related").type),
        "changes": events.column("changes").cast(EVENT_ROWS.field("changes").type),
        "topic_id": pa.array([partition.topic_id.bytes], pa.binary(16)).take(np.zeros(count, np.int64)),
        "kafka_partition": pa.array(np.full(count, partition.number, np.int32)),
        "kafka_offset": pa.array(offsets),
        "received_at": pa.array(received_millis).cast(EVENT_ROWS.field("received_at").type),
    }
    columns["action_version"] = columns["action_version"].cast(pa.uint32())
    return pa.RecordBatch.from_arrays(
        [columns[name] for name in EVENT_ROWS.names],
        schema=pa.schema([_typed(field, columns[field.name]) for field in EVENT_ROWS]),
    )


def _buckets(accounts: Column) -> Column:
    """Return the bucket of each account, hashing every account of the batch once."""
    buckets = [account_bucket(account) for account in accounts.dictionary.to_pylist()]
    return pa.array(np.array(buckets, np.uint8)[accounts.indices.to_numpy()])


def _typed(field: pa.Field[Any], column: Column) -> pa.Field[Any]:
    """Return the table's field with the column's own text type: dictionaries stay dictionaries."""
    return field.with_type(column.type)

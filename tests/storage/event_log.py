"""A database for tests, and a short way to store events in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

import pyarrow as pa

from auditlog_schemas.catalog import Catalog
from auditlog_schemas.event import AuditEvent, new_event_id
from auditlog_storage.connection import Connection
from auditlog_storage.ledger import Ledger, Range
from auditlog_storage.tables import EVENT_ROWS, bucket_of
from auditlog_storage.writer import EventWriter

RECEIVED = datetime(2026, 3, 1, 12, 0, 0, 5_000, UTC)


class Log:
    """A migrated database with a topic of its own, and a short way to store events in it."""

    def __init__(self, connection: Connection, catalog: Catalog) -> None:
        self.connection = connection
        self.catalog = catalog
        self.writer = EventWriter(connection)
        self.ledger = Ledger(connection)
        self.topic_id = uuid4()
        self.received_at = RECEIVED
        self.topic = f"topic-{self.topic_id.hex}"
        self._offsets = count()
        self._buckets: dict[str, int] = {}

    def event(self, **fields: Any) -> AuditEvent:
        """An event with every field filled in; `fields` replace record fields, unchecked."""
        record: dict[str, Any] = {
            "event_id": str(new_event_id()),
            "account_id": "acc_1",
            "occurred_at": 1_772_366_400_000_001,
            "action": "license_updated",
            "action_version": 1,
            "entity": {"type": "license", "id": "lic_1", "name": "Pro seat"},
            "related": [{"type": "customer", "id": "cus_1", "name": None}],
            "source": {"service": "billing", "instance_id": "billing-1", "sequence": 7},
            "actor": {
                "type": "platform_user",
                "id": "usr_1",
                "name": "Ada",
                "email": "ada@example.com",
                "impersonator_id": None,
            },
            "context": {"ip": "10.0.0.1", "user_agent": "Mozilla/5.0", "request_id": "req_1"},
            "changes": [{"field": "seats", "before": None, "after": "5"}],
            "metadata": {"source": "web"},
        }
        return AuditEvent.from_record(record | fields)

    def batch(
        self, events: Sequence[AuditEvent], kafka_partition: int = 0, first_offset: int | None = None
    ) -> pa.RecordBatch:
        offsets = self._offsets if first_offset is None else count(first_offset)
        rows = [self._row(event, kafka_partition, next(offsets)) for event in events]
        return pa.RecordBatch.from_pylist(rows, schema=EVENT_ROWS)

    def store(self, *events: AuditEvent, kafka_partition: int = 0, first_offset: int | None = None) -> None:
        """Store events and record them, as a consumer does."""
        rows = self.batch(events, kafka_partition, first_offset)
        self.writer.insert(rows, token=uuid4().hex)
        self.record(rows)

    def record(self, rows: pa.RecordBatch) -> None:
        """Record the partition of these rows up to the last of them; offsets without a row are absent."""
        if not rows.num_rows:
            return
        partition = rows.column("kafka_partition")[0].as_py()
        found: list[Any] = rows.column("kafka_offset").to_pylist()
        offsets = [int(offset) for offset in found]
        first, last = min(offsets), max(offsets)
        accepted = len(set(offsets))
        self.ledger.append(
            Range(
                topic=self.topic,
                topic_id=self.topic_id,
                kafka_partition=partition,
                first_offset=first,
                last_offset=last,
                accepted=accepted,
                rejected=0,
                duplicates=0,
                absent=last - first + 1 - accepted,
                consumer_group="tests",
                recorded_at=datetime.now(UTC),
            )
        )

    def bucket(self, account_id: str) -> int:
        if account_id not in self._buckets:
            sql = "SELECT toUInt8(" + bucket_of("{account_id:String}") + ")"
            [(self._buckets[account_id],)] = self.connection.query_rows(sql, {"account_id": account_id})
        return self._buckets[account_id]

    def explain(self, sql: str, parameters: dict[str, object], settings: dict[str, Any]) -> str:
        rows = self.connection.query_rows(f"EXPLAIN indexes = 1, projections = 1 {sql}", parameters, settings)
        return "\n".join(row[0] for row in rows)

    def _row(self, event: AuditEvent, kafka_partition: int, kafka_offset: int) -> dict[str, Any]:
        record = event.to_record()
        source, actor, context = record.pop("source"), record.pop("actor"), record.pop("context")
        entity = record.pop("entity")
        return {
            **record,
            "account_bucket": self.bucket(event.account_id),
            "event_id": event.event_id.bytes,
            **{f"entity_{name}": value for name, value in entity.items()},
            **{f"source_{name}": value for name, value in source.items()},
            **{f"actor_{name}": value for name, value in actor.items()},
            **context,
            "metadata": list(event.metadata.items()),
            "topic_id": self.topic_id.bytes,
            "kafka_partition": kafka_partition,
            "kafka_offset": kafka_offset,
            "received_at": self.received_at,
        }


def engine_order(event: AuditEvent) -> tuple[datetime, bytes]:
    """The log's order, oldest first: ClickHouse compares the second half of a UUID before the first."""
    return event.occurred_at, event.event_id.bytes[8:] + event.event_id.bytes[:8]

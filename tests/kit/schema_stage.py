"""A pipeline whose messages name schemas of a registry that goes away, and what must become of them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from itertools import count
from typing import Any, Final
from uuid import UUID

from auditlog_consumer.account_bucket import account_bucket
from auditlog_consumer.acknowledged import AcknowledgedWriter, Outgoing
from auditlog_consumer.topics import PARTITIONS, Topics
from auditlog_schemas.codec import EVENT_SCHEMA, encode
from auditlog_schemas.registry import SchemaRegistry
from auditlog_schemas.resolution import Schema
from auditlog_storage.ledger import Ledger
from kit.events import make_event
from kit.pipeline import Pipeline
from kit.registry_front import RegistryFront
from kit.stopwatch import Stopwatch

SECONDS_MAX: Final = 120.0
ACCOUNTS: Final = [
    next(name for name in (f"acc_{at}" for at in count()) if account_bucket(name) == number)
    for number in range(PARTITIONS)
]
"""An account of each partition."""


class SchemaStage:
    """Publishes into chosen partitions and remembers what must become of every offset.

    Attributes:
        pipeline: whose consumers ask the registry through the front.
        front: of the registry.
        schema_id: under which the registry knows the event's schema.
    """

    def __init__(self, front: RegistryFront, kafka: str, clickhouse_url: str, **settings: Any) -> None:
        self.front = front
        self.pipeline = Pipeline(kafka, clickhouse_url, schema_registry_url=front.url, **settings)
        self.schema_id = register(front.registry_url, "events-value", EVENT_SCHEMA)
        self._topic_id = Topics(kafka).describe(self.pipeline.topic).topic_id
        self._ledger = Ledger(self.pipeline.connection)
        self._writer = AcknowledgedWriter(kafka)
        self._expected: dict[int, list[UUID | None]] = defaultdict(list)

    def events(
        self, partition: int, number: int, schema_id: int | None = None, *, size: int = 0, more: bytes = b""
    ) -> None:
        """Publish valid events, with or without the id of a schema.

        Args:
            partition: where.
            number: of events.
            schema_id: of the schema that each names.
            size: about how many bytes longer than usual each is, at most 25,000.
            more: what their schema has behind the fields of the event's own.
        """
        metadata = {f"key_{at}": "x" * 500 for at in range(size // 500)}
        events = [make_event(account_id=ACCOUNTS[partition], metadata=metadata) for _ in range(number)]
        self._publish(partition, [encode(event.to_record(), schema_id) + more for event in events])
        self._expected[partition] += [event.event_id for event in events]

    def garbage(self, partition: int, schema_ids: Iterable[int]) -> None:
        """Publish nine bytes for each id, which no registry knows."""
        values = [b"\0" + schema_id.to_bytes(4, "big") + b"body" for schema_id in schema_ids]
        self._publish(partition, values)
        self._expected[partition] += [None] * len(values)

    def _publish(self, partition: int, values: list[bytes]) -> None:
        key = ACCOUNTS[partition].encode()
        self._writer.write(self.pipeline.topic, [Outgoing(key, value) for value in values])

    def published(self, partition: int) -> int:
        """Return how many messages were published into a partition."""
        return len(self._expected[partition])

    def recorded(self, partition: int) -> int:
        """Return the offset up to which the ledger has recorded a partition."""
        return self._ledger.next_offset(self._topic_id, partition) or 0

    def until_recorded(
        self, partition: int, offset: int | None = None, seconds_max: float = SECONDS_MAX
    ) -> float:
        """Wait until the ledger has recorded all messages before an offset, or all; return the seconds."""
        offset = self.published(partition) if offset is None else offset
        watch, deadline = Stopwatch(), time.monotonic() + SECONDS_MAX
        while (recorded := self.recorded(partition)) < offset:
            self.pipeline.raise_failure()
            at = f"partition {partition} is recorded up to {recorded}, not to {offset}"
            assert watch.seconds < seconds_max, f"{at} after {seconds_max} s"
            assert time.monotonic() < deadline, at
            time.sleep(0.03)
        return watch.seconds

    def require_whole(self) -> None:
        """Require that all events are stored in order, garbage has letters, and a check finds no error."""
        stored: dict[int, list[tuple[int, UUID]]] = defaultdict(list)
        for number, offset, event_id in self.pipeline.connection.query_rows(
            "SELECT kafka_partition, kafka_offset, event_id FROM audit_events ORDER BY ALL"
        ):
            stored[number].append((offset, event_id))
        letters = {
            (letter.source_partition, letter.source_offset): letter.rule
            for letter in self.pipeline.dead_letters()
        }
        for number, expected in self._expected.items():
            good = [(offset, event_id) for offset, event_id in enumerate(expected) if event_id is not None]
            assert stored[number] == good, f"partition {number}"
        places = [(number, at) for number, ids in self._expected.items() for at in range(len(ids))]
        bad = {(number, at) for number, at in places if self._expected[number][at] is None}
        assert letters == dict.fromkeys(bad, "unknown_schema_id")
        report = self.pipeline.check()
        assert (report.accepted, report.rejected) == (len(places) - len(bad), len(bad))

    def close(self) -> None:
        """Close the pipeline, which checks once more what the last consumer left."""
        self._writer.close()
        self.pipeline.close()


def register(registry_url: str, subject: str, schema: Schema) -> int:
    """Register a schema and return its id."""
    # A registry takes long for the first schema of its life.
    registry = SchemaRegistry(registry_url, timeout_seconds=60)
    try:
        return registry.register(subject, schema)
    finally:
        registry.close()

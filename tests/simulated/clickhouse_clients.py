"""What the consumer uses of ClickHouse, over the model: the same methods as the real classes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import pyarrow as pa

from auditlog_schemas.errors import StorageRejected, StorageUnavailable
from auditlog_storage.ledger import Range
from simulated.clickhouse_model import Arrived, EngineModel, StoredRow, parts_of
from simulated.kernel import Process
from simulated.network import Answer, Network

_NUMBERS = ("last_offset", "accepted", "rejected", "duplicates", "absent", "kind")


class SimEventWriter:
    """Stands for `auditlog_storage.writer.EventWriter`."""

    def __init__(self, engine: EngineModel, network: Network, process: Process) -> None:
        self._engine = engine
        self._network = network
        self._process = process

    def insert(self, batch: pa.RecordBatch, token: str, deadline: datetime | None = None) -> None:
        """Insert a batch under a token, unless the engine's clock is past the deadline by then."""
        if not batch.num_rows:
            return
        topic_id, parts = parts_of(batch)

        def serve(answer: Answer) -> None:
            self._engine.take_insert(Arrived(token, parts, topic_id, deadline), self._network.weather, answer)

        what = f"insert {token.partition('/')[2]} ({batch.num_rows} rows)"
        self._network.request(self._process, self._engine, what, serve)

    def engine_now(self) -> datetime:
        """Return the engine's time of day."""
        return cast(datetime, self._ask("ask for the engine's clock", lambda: self._engine.now()))

    def _ask(self, what: str, look: object) -> object:
        return ask(self._engine, self._network, self._process, what, look)


class SimStoredRows:
    """Stands for `auditlog_storage.stored.StoredRows`."""

    def __init__(self, engine: EngineModel, network: Network, process: Process) -> None:
        self._engine = engine
        self._network = network
        self._process = process

    def offsets(self, topic_id: UUID, kafka_partition: int, first_offset: int, last_offset: int) -> pa.Table:
        """Return ``kafka_offset`` and ``event_id`` of what is stored in a range, by offset."""
        rows = self._rows("read back", topic_id, kafka_partition, first_offset, last_offset)
        return pa.table([_longs(rows), _ids(rows)], names=["kafka_offset", "event_id"])

    def highest_offset(self, topic_id: UUID, kafka_partition: int, first_offset: int = 0) -> int | None:
        """Return the highest offset stored at or above `first_offset`, or None."""
        rows = self._rows("look for the highest row", topic_id, kafka_partition, first_offset, 1 << 60)
        return rows[-1].kafka_offset if rows else None

    def count(self, topic_id: UUID, kafka_partition: int, first_offset: int, last_offset: int) -> int:
        """Return how many offsets of a range are stored."""
        rows = self._rows("count rows", topic_id, kafka_partition, first_offset, last_offset)
        return len({row.kafka_offset for row in rows})

    def recent_ids(
        self, topic_id: UUID, kafka_partition: int, first_offset: int, last_offset: int
    ) -> pa.Table:
        """Return ``kafka_offset``, ``account_id`` and ``event_id`` of a range, by offset."""
        rows = self._rows("read recent ids", topic_id, kafka_partition, first_offset, last_offset)
        accounts = pa.array([row.account_id for row in rows], pa.string())
        columns = [_longs(rows), accounts, _ids(rows)]
        return pa.table(columns, names=["kafka_offset", "account_id", "event_id"])

    def _rows(
        self, what: str, topic_id: UUID, kafka_partition: int, first_offset: int, last_offset: int
    ) -> list[StoredRow]:
        def look() -> list[StoredRow]:
            rows = self._engine.rows[topic_id, kafka_partition]
            found = [row for row in rows if first_offset <= row.kafka_offset <= last_offset]
            return sorted(found, key=lambda row: row.kafka_offset)

        to = f"{first_offset}-{last_offset}" if last_offset < 1 << 60 else f"{first_offset}-"
        doing = f"{what} {kafka_partition}/{to}"
        return cast(list[StoredRow], ask(self._engine, self._network, self._process, doing, look))


class SimLedger:
    """Stands for `auditlog_storage.ledger.Ledger`."""

    def __init__(self, engine: EngineModel, network: Network, process: Process) -> None:
        self._engine = engine
        self._network = network
        self._process = process

    def next_offset(self, topic_id: UUID, kafka_partition: int) -> int | None:
        """Return the offset after the furthest range, or None."""
        furthest = self.furthest(topic_id, kafka_partition)
        return furthest.next_offset if furthest else None

    def furthest(self, topic_id: UUID, kafka_partition: int) -> Range | None:
        """Return the range that reaches furthest, or None."""

        def look() -> Range | None:
            ranges = self._engine.ranges(topic_id, kafka_partition)
            return max(ranges, key=lambda each: each.last_offset, default=None)

        what = f"read the ledger of {kafka_partition}"
        return cast("Range | None", ask(self._engine, self._network, self._process, what, look))

    def append(self, range: Range, deadline: datetime | None = None) -> None:
        """Record a range, unless the engine's clock is past the deadline by then, and read it back."""

        def serve(answer: Answer) -> None:
            answer(self._engine.take_range(range, deadline))

        at = f"{range.kafka_partition}/{range.first_offset}-{range.last_offset}"
        self._network.request(self._process, self._engine, f"record {at} {_counts(range)}", serve)
        key = (range.topic_id, range.kafka_partition, range.first_offset)
        what = f"read the ledger back {at}"
        stored = cast(
            "Range | None",
            ask(self._engine, self._network, self._process, what, lambda: self._engine.ledger.get(key)),
        )
        if stored is None:
            raise StorageUnavailable(f"a ledger row was acknowledged but is not there: {range}")
        if any(getattr(stored, name) != getattr(range, name) for name in _NUMBERS):
            raise StorageRejected(f"the ledger holds another range from this offset: {stored}, not {range}")


class SimClaims:
    """Stands for what `auditlog_storage.claims.Claims` uses of a connection."""

    def __init__(self, engine: EngineModel, network: Network, process: Process) -> None:
        self._engine = engine
        self._network = network
        self._process = process

    def query_rows(self, sql: str, parameters: dict[str, UUID]) -> list[tuple[int, str]]:  # noqa: ARG002
        """Return the topic's last claim."""
        topic_id = parameters["topic_id"]

        def look() -> list[tuple[int, str]]:
            return sorted(self._engine.claims[topic_id], key=lambda claim: claim[0])[-1:]

        what = "read the claims"
        return cast("list[tuple[int, str]]", ask(self._engine, self._network, self._process, what, look))

    def insert_batch(self, table: str, batch: pa.RecordBatch, token: str) -> None:  # noqa: ARG002
        """Insert a claim under a token."""
        [row] = batch.to_pylist()

        def serve(answer: Answer) -> None:
            self._engine.take_claim(UUID(bytes=row["topic_id"]), row["number"], row["consumer_group"], token)
            answer(None)

        what = f"claim the topic for {row['consumer_group']}"
        self._network.request(self._process, self._engine, what, serve)


def ask(engine: EngineModel, network: Network, process: Process, what: str, look: object) -> object:
    """Run a query: it sees one moment of the engine."""
    assert callable(look)

    def serve(answer: Answer) -> None:
        answer(look())

    return network.request(process, engine, what, serve)


def _counts(range: Range) -> str:
    counts = f"{range.accepted}+{range.rejected}r+{range.duplicates}d+{range.absent}a"
    return counts if range.kind == "committed" else f"{counts} {range.kind}"


def _longs(rows: Sequence[StoredRow]) -> pa.Array[pa.Int64Scalar]:
    return pa.array([row.kafka_offset for row in rows], pa.int64())


def _ids(rows: Sequence[StoredRow]) -> pa.Array[Any]:
    return pa.array([row.event_id for row in rows], pa.binary(16))

"""The ledger: one row for each range of Kafka offsets that is done with."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import pyarrow as pa

from auditlog_schemas.errors import AuditError, StorageRejected, StorageUnavailable
from auditlog_schemas.record import micros_of
from auditlog_storage.connection import Connection
from auditlog_storage.deadline import insert_until
from auditlog_storage.tables import AUDIT_RANGES, OFFSET_MAX, SMALL_READ_SETTINGS

RangeKind = Literal["committed", "lost"]

_PAGE_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets `first_offset` to `last_offset`, both included, of one partition, and what became of them.

    Attributes:
        topic: the topic's name when the range was recorded.
        topic_id: Kafka's id of the topic; a topic that is deleted and made again has another one.
        accepted: messages stored as rows of `audit_events`.
        rejected: messages sent to the dead letters.
        duplicates: messages dropped because an accepted one has the same account and event id.
        absent: offsets that hold no message (aborted, control) or, in a lost range, no message any more.
        kind: ``committed``, or ``lost`` when Kafka's retention deleted messages before they were read.
        consumer_group: the group that did it.
        recorded_at: aware UTC; stored in milliseconds.

    Raises:
        ValueError: the counts do not add up to the number of offsets, or Kafka has no such offsets.
    """

    topic: str
    topic_id: UUID
    kafka_partition: int
    first_offset: int
    last_offset: int
    accepted: int
    rejected: int
    duplicates: int
    absent: int
    consumer_group: str
    recorded_at: datetime
    kind: RangeKind = "committed"

    def __post_init__(self) -> None:
        counts = (self.accepted, self.rejected, self.duplicates, self.absent)
        if min(*counts, self.first_offset, self.kafka_partition) < 0:
            raise ValueError(f"a range has no negative numbers: {self}")
        if self.last_offset > OFFSET_MAX:
            raise ValueError(f"offset {self.last_offset} is beyond Kafka's last one, {OFFSET_MAX}")
        if self.last_offset - self.first_offset + 1 != sum(counts) or not sum(counts):
            raise ValueError(
                f"offsets {self.first_offset} to {self.last_offset} do not add up to accepted {self.accepted}"
                f" + rejected {self.rejected} + duplicates {self.duplicates} + absent {self.absent}"
            )

    @property
    def next_offset(self) -> int:
        """Return the first offset after the range: what Kafka calls the committed offset."""
        return self.last_offset + 1


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets of a partition, both ends included, that no range of the ledger covers: a loss."""

    kafka_partition: int
    first_offset: int
    last_offset: int


class Ledger:
    """Reads and writes `audit_ranges`, for any number of threads; raises what `Connection` raises.

    A row that cannot be a range, because somebody changed it by hand, raises StorageRejected when it is read.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: list[_Entry] = []

    def furthest(self, topic_id: UUID, kafka_partition: int) -> Range | None:
        """Return the range that reaches furthest, or None when the partition has no range yet."""
        wanted = {"topic_id": topic_id, "kafka_partition": kafka_partition}
        rows = self._connection.query_rows(_FURTHEST, wanted)
        return _from_row(rows[0]) if rows else None

    def next_offset(self, topic_id: UUID, kafka_partition: int) -> int | None:
        """Return the offset after the furthest range, or None when the partition has no range yet."""
        furthest = self.furthest(topic_id, kafka_partition)
        return furthest.next_offset if furthest else None

    def append(self, range: Range, deadline: datetime | None = None) -> None:
        """Record a range and read it back. Ranges of several threads go together.

        On return the row is stored and synced to disk. Appending the same range again changes nothing, so
        after an error the caller simply appends it again.

        Args:
            range: what to record.
            deadline: by ClickHouse's own clock: a process that was stopped on the way must not overwrite
                what the partition's next owner has recorded since.

        Raises:
            InsertTooLate: the row arrived after the deadline, or one that was written together with it.
            StorageUnavailable: it could not be written or was not there when read back: append it again.
            StorageRejected: another range with this first offset is recorded, which reaches further or was
                written at the same time: two consumers work on this partition, or this one is late.
        """
        entry = _Entry(range, deadline)
        with self._lock:
            self._waiting.append(entry)
        # Threads that come while one is writing find their range written by the next one of them.
        with self._writing:
            if not entry.is_done:
                with self._lock:
                    entries, self._waiting = self._waiting, []
                self._write(entries)
        if entry.error is not None:
            raise entry.error

    def ranges(
        self, topic_id: UUID, kafka_partition: int | None = None, since: datetime | None = None
    ) -> Iterator[Range]:
        """Yield ranges by partition and offset, reading a page at a time.

        Args:
            topic_id: of which topic.
            kafka_partition: only this partition.
            since: only ranges recorded at or after this time.
        """
        wanted = _wanted(topic_id, kafka_partition) | {
            "since": micros_of(since) if since else 0,
            "rows": _PAGE_ROWS,
        }
        after = {"after_partition": -1, "after_offset": -1}
        while True:
            page = [_from_row(row) for row in self._connection.query_rows(_PAGE, wanted | after)]
            yield from page
            if len(page) < _PAGE_ROWS:
                return
            after = {"after_partition": page[-1].kafka_partition, "after_offset": page[-1].first_offset}

    def gaps(self, topic_id: UUID, kafka_partition: int | None = None) -> list[Gap]:
        """Return the holes between recorded ranges, by partition and offset."""
        rows = self._connection.query_rows(_GAPS, _wanted(topic_id, kafka_partition))
        return [Gap(*row) for row in rows]

    def _write(self, entries: Sequence[_Entry]) -> None:
        """Insert all ranges as one block, read them back, and give every entry its outcome."""
        try:
            # Without a token: the key makes a repeated row one row, and a token that was logged before a
            # crash would make every retry say OK and store nothing.
            rows = _to_batch([entry.range for entry in entries])
            deadlines = [entry.deadline for entry in entries if entry.deadline is not None]
            insert_until(self._connection, AUDIT_RANGES, rows, None, min(deadlines, default=None))
            stored = self._starting_with([entry.range for entry in entries])
        except BaseException as error:
            # Nobody may take a range as recorded because the thread that was to write it has ended.
            ended = StorageUnavailable("the thread that wrote the ledger ended; append the range again")
            for entry in entries:
                entry.error = error if isinstance(error, AuditError) else ended
            if not isinstance(error, AuditError):
                raise
        else:
            for entry in entries:
                entry.error = _difference(entry.range, stored.get(_key(entry.range)))
        finally:
            for entry in entries:
                entry.is_done = True

    def _starting_with(self, ranges: Sequence[Range]) -> dict[tuple[UUID, int, int], Range]:
        """Return what is recorded under the keys of these ranges, and maybe others."""
        keys = [_key(range) for range in ranges]
        names = ("topic_ids", "kafka_partitions", "first_offsets")
        wanted = {
            name: sorted(set(values)) for name, values in zip(names, zip(*keys, strict=True), strict=True)
        }
        rows = self._connection.query_rows(_SOME, wanted, SMALL_READ_SETTINGS)
        found = sorted(((_from_row(row), _block(part)) for *row, part in rows), key=_precedence)
        return {_key(range): range for range, _ in found}


@dataclass(slots=True)
class _Entry:
    """A range on its way into the ledger; `error` says why it is not there."""

    range: Range
    deadline: datetime | None
    is_done: bool = False
    error: AuditError | None = None


_COLUMNS: Final = """
    SELECT topic, topic_id, kafka_partition, first_offset, last_offset,
           accepted, rejected, duplicates, absent, kind, consumer_group, recorded_at
"""
_FIELDS: Final = f"{_COLUMNS} FROM audit_ranges FINAL"

# The end of the key is one granule in each part; FINAL over the partition would read all of it.
_FURTHEST: Final = f"""{_FIELDS}
    WHERE topic_id = {{topic_id:UUID}} AND kafka_partition = {{kafka_partition:Int32}}
      AND first_offset = (
          SELECT first_offset FROM audit_ranges
          WHERE topic_id = {{topic_id:UUID}} AND kafka_partition = {{kafka_partition:Int32}}
          ORDER BY first_offset DESC
          LIMIT 1
      )
"""  # noqa: S608 - names of ours, values are parameters

# Without FINAL, which would cost more than the rest: `_precedence` does the same with the few rows.
_SOME: Final = f"""{_COLUMNS}, _part FROM audit_ranges
    WHERE topic_id IN {{topic_ids:Array(UUID)}} AND kafka_partition IN {{kafka_partitions:Array(Int32)}}
      AND first_offset IN {{first_offsets:Array(Int64)}}
"""

_PAGE: Final = f"""{_FIELDS}
    WHERE topic_id = {{topic_id:UUID}}
      AND ({{any_partition:Bool}} OR kafka_partition = {{kafka_partition:Int32}})
      AND (kafka_partition, first_offset) > ({{after_partition:Int32}}, {{after_offset:Int64}})
      AND recorded_at >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC')
    ORDER BY kafka_partition, first_offset
    LIMIT {{rows:UInt32}}
"""

# Compared before anything is added: in ClickHouse 9223372036854775807 + 1 is the lowest number.
_GAPS: Final = """
    SELECT kafka_partition, reached + 1, first_offset - 1 FROM (
        SELECT kafka_partition, first_offset,
               row_number() OVER (PARTITION BY kafka_partition ORDER BY first_offset) AS place,
               max(last_offset) OVER (
                   PARTITION BY kafka_partition ORDER BY first_offset
                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
               ) AS reached
        FROM audit_ranges FINAL
        WHERE topic_id = {topic_id:UUID}
          AND ({any_partition:Bool} OR kafka_partition = {kafka_partition:Int32})
    )
    WHERE place > 1 AND first_offset > reached AND first_offset - 1 > reached
    ORDER BY kafka_partition, first_offset
"""


def _wanted(topic_id: UUID, kafka_partition: int | None) -> dict[str, object]:
    return {
        "topic_id": topic_id,
        "any_partition": kafka_partition is None,
        "kafka_partition": kafka_partition or 0,
    }


def _to_batch(ranges: Sequence[Range]) -> pa.RecordBatch:
    names = AUDIT_RANGES.rows.names
    rows = [
        {name: getattr(range, name) for name in names} | {"topic_id": range.topic_id.bytes}
        for range in ranges
    ]
    return pa.RecordBatch.from_pylist(rows, schema=AUDIT_RANGES.rows)


def _from_row(row: Sequence[Any]) -> Range:
    try:
        return Range(**dict(zip(AUDIT_RANGES.rows.names, row, strict=True)))
    except ValueError as error:
        raise StorageRejected(
            f"a row of audit_ranges was changed by hand: {error}; see docs/operations.md, 'gap in the ledger'"
        ) from error


def _key(range: Range) -> tuple[UUID, int, int]:
    return range.topic_id, range.kafka_partition, range.first_offset


def _block(part: str) -> int:
    """Return the number of the insert that a part begins with: a part is ``all_<from>_<to>_<level>``."""
    return int(part.split("_")[1])


def _precedence(recorded: tuple[Range, int]) -> tuple[int, int]:
    """Return what a merge goes by: of rows with one key the furthest stays, and of equal ones the last."""
    range, block = recorded
    return range.last_offset, block


def _difference(range: Range, stored: Range | None) -> AuditError | None:
    """Return what is wrong with a range that was just written."""
    if stored is None:
        return StorageUnavailable(f"a ledger row was acknowledged but is not there; append it again: {range}")
    if _result(stored) != _result(range):
        return StorageRejected(f"the ledger holds another range from this offset: {stored}, not {range}")
    return None


def _result(range: Range) -> tuple[object, ...]:
    # Everything but who recorded it and when: a retry carries another time.
    return (range.last_offset, range.accepted, range.rejected, range.duplicates, range.absent, range.kind)

"""Where the ledger ends: the furthest range of each partition, at a cost that does not grow with the ledger.

The ledger gets a row for each batch, millions a month. Its key begins with topic and partition, so the last
topic, the last partition of a topic and the last range of a partition are each the end of a piece of the key:
every query here reads the last granule of such a piece in each part, and no more. Once the ends are known,
one query tells what has come since.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from auditlog_storage.connection import Settings
from auditlog_storage.snapshot import Snapshot
from auditlog_storage.tables import OFFSET_MAX, SMALL_READ_SETTINGS

_PARTITIONS_A_QUERY: Final = 100
_KNOWN_SECONDS_MAX: Final = 30.0
"""For so long only newer ranges are looked for: ends move back when an operator restores an old backup."""

_NO_SETTINGS: Final[Settings] = {}

Read = Callable[[str, Mapping[str, object], Settings], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class LedgerEnd:
    """The end of a partition's furthest range.

    Attributes:
        topic: the topic's name when it was recorded.
        topic_id: Kafka's id of the topic.
        kafka_partition: the partition.
        first_offset: of the furthest range.
        next_offset: the offset after it.
        recorded_at: when it was recorded (aware UTC).
    """

    topic: str
    topic_id: UUID
    kafka_partition: int
    first_offset: int
    next_offset: int
    recorded_at: datetime


class LedgerEnds:
    """Reads the ends of all topics and partitions; safe to share between threads.

    Args:
        read: runs a SELECT with parameters and settings and returns its rows: `Connection.query_rows`.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._known: Mapping[tuple[UUID, int], LedgerEnd] = {}
        self._known_seconds = float("-inf")

    def read(self) -> list[LedgerEnd]:
        """Return the end of every partition that has a range."""
        with self._lock:
            now = time.monotonic()
            known = self._known
            is_old = now - self._known_seconds > _KNOWN_SECONDS_MAX
            if not known or len(known) > _PARTITIONS_A_QUERY or is_old:
                self._known, self._known_seconds = self._all(), now
            else:
                self._known = {**known, **self._since(known)}
            return list(self._known.values())

    def _all(self) -> dict[tuple[UUID, int], LedgerEnd]:
        partitions = [
            (topic_id, partition)
            for topic_id, last_partition in self._topics()
            for partition in range(last_partition + 1)
        ]
        return {
            (end.topic_id, end.kafka_partition): end
            for first in range(0, len(partitions), _PARTITIONS_A_QUERY)
            for end in self._of(partitions[first : first + _PARTITIONS_A_QUERY])
        }

    def _since(self, known: Mapping[tuple[UUID, int], LedgerEnd]) -> dict[tuple[UUID, int], LedgerEnd]:
        """Return the ends of the partitions that are further now than they were, or new."""
        partitions: dict[UUID, list[int]] = {}
        for topic_id, partition in known:
            partitions.setdefault(topic_id, []).append(partition)
        values: dict[str, object] = {"topics": list(partitions)}
        places = []
        for number, end in enumerate(known.values()):
            # With the furthest range itself: it may have been recorded anew and reach further.
            places.append(_FURTHER.format(number=number))
            values[f"topic_{number}"], values[f"partition_{number}"] = end.topic_id, end.kafka_partition
            values[f"first_{number}"] = end.first_offset
        for number, (topic_id, numbers) in enumerate(partitions.items()):
            places.append(_OTHER_PARTITIONS.format(number=number))
            values[f"known_topic_{number}"], values[f"known_{number}"] = topic_id, numbers
        rows = self._read(_SINCE.format(places="\n       OR ".join(places)), values, SMALL_READ_SETTINGS)
        return {(end.topic_id, end.kafka_partition): end for end in _ends(rows)}

    def _topics(self) -> list[tuple[UUID, int]]:
        """Return every topic with its last partition; a topic's partitions are numbered without a gap."""
        found: list[tuple[UUID, int]] = []
        while True:
            values = {"before": found[-1][0]} if found else {}
            sql = _LAST_TOPIC.format("WHERE topic_id < {before:UUID}" if found else "")
            rows = self._read(sql, values, _NO_SETTINGS)
            if not rows:
                return found
            found.append(rows[0])

    def _of(self, partitions: Sequence[tuple[UUID, int]]) -> Iterable[LedgerEnd]:
        values: dict[str, object] = {}
        queries = []
        for number, (topic_id, partition) in enumerate(partitions):
            queries.append(_LAST_RANGE.format(number=number))
            values |= {f"topic_{number}": topic_id, f"partition_{number}": partition}
        rows = self._read("\nUNION ALL\n".join(queries), values, _NO_SETTINGS)
        ends: dict[tuple[UUID, int], LedgerEnd] = {}
        for end in _ends(rows):
            key = end.topic_id, end.kafka_partition
            if key not in ends or end.next_offset > ends[key].next_offset:
                ends[key] = end
        return ends.values()


def _ends(rows: Iterable[tuple[Any, ...]]) -> Iterator[LedgerEnd]:
    for topic, topic_id, partition, first_offset, last_offset, recorded_at in rows:
        # A row that was changed by hand may end where no offsets are; a snapshot has none of those.
        next_offset = min(max(last_offset, -1), OFFSET_MAX) + 1
        yield LedgerEnd(topic, topic_id, partition, first_offset, next_offset, recorded_at)


def snapshot_of(ends: Iterable[LedgerEnd]) -> Snapshot:
    """Return the snapshot of everything that is recorded.

    A topic that was deleted and made again under the same name is closed: its consumer reads the new one.
    """
    known = list(ends)
    newest: dict[str, LedgerEnd] = {}
    for end in known:
        if end.topic not in newest or end.recorded_at > newest[end.topic].recorded_at:
            newest[end.topic] = end
    live = {end.topic_id for end in newest.values()}
    return Snapshot(
        {(end.topic_id, end.kafka_partition): end.next_offset for end in known if end.topic_id in live},
        frozenset(end.topic_id for end in known if end.topic_id not in live),
    )


# Without FINAL, which would read and merge much more. Of two rows with one start the longer one holds, but
# an order by that as well would not be the key's any more: it reads a whole partition.
_LAST_TOPIC: Final = """
    SELECT topic_id, kafka_partition FROM audit_ranges
    {}
    ORDER BY topic_id DESC, kafka_partition DESC
    LIMIT 1
"""

_LAST_RANGE: Final = """
    SELECT * FROM (
        SELECT topic, topic_id, kafka_partition, first_offset, last_offset, recorded_at FROM audit_ranges
        WHERE topic_id = {{topic_{number}:UUID}} AND kafka_partition = {{partition_{number}:Int32}}
        ORDER BY first_offset DESC
        LIMIT 2
    )
"""

_FURTHER: Final = (
    "topic_id = {{topic_{number}:UUID}} AND kafka_partition = {{partition_{number}:Int32}} "
    "AND first_offset >= {{first_{number}:Int64}}"
)
_OTHER_PARTITIONS: Final = (
    "topic_id = {{known_topic_{number}:UUID}} AND kafka_partition NOT IN {{known_{number}:Array(Int32)}}"
)
_SINCE: Final = """
    SELECT argMax(topic, first_offset), topic_id, kafka_partition,
           max(first_offset), max(last_offset), max(recorded_at)
    FROM audit_ranges
    WHERE {places}
       OR topic_id NOT IN {{topics:Array(UUID)}}
    GROUP BY topic_id, kafka_partition
"""

"""Which of some events are stored at an earlier offset: the consumer's window, as the table shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from auditlog_consumer.check.stored_offsets import LIMITS, PROJECTION, TABLE
from auditlog_consumer.partition import Partition
from auditlog_storage.connection import Connection

EventKey: TypeAlias = tuple[str, bytes]
"""Account and event id (16 bytes)."""

SLICE_OFFSETS: Final = 250_000

_IDS: Final = """
    SELECT kafka_offset, account_id::String AS account_id, event_id FROM SOURCE
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {partition:Int32}
      AND kafka_offset BETWEEN {first:Int64} AND {last:Int64}
"""


class KnownIds:
    """Looks up events by account and id among the stored rows of one partition."""

    def __init__(self, connection: Connection, partition: Partition, *, trusted: bool) -> None:
        self._connection = connection
        self._where = {"topic_id": partition.topic_id, "partition": partition.number}
        self._ids = _IDS.replace("SOURCE", PROJECTION if trusted else TABLE)

    def lowest_offsets(self, first: int, last: int, wanted: Mapping[EventKey, int]) -> dict[EventKey, int]:
        """Return the lowest offset from `first` to `last` at which each of the wanted events is stored."""
        found: dict[EventKey, int] = {}
        ids = pa.array({event_id for _, event_id in wanted}, pa.binary(16))
        for table in self._slices(max(first, 0), last):
            known = table.filter(pc.is_in(table.column("event_id").cast(pa.binary(16)), value_set=ids))
            for row in known.to_pylist():
                key = (row["account_id"], row["event_id"])
                if key in wanted:
                    found[key] = min(row["kafka_offset"], found.get(key, row["kafka_offset"]))
        return found

    def _slices(self, first: int, last: int) -> Iterator[pa.Table]:
        for start in range(first, last + 1, SLICE_OFFSETS):
            where = self._where | {"first": start, "last": min(last, start + SLICE_OFFSETS - 1)}
            yield self._connection.query_arrow(self._ids, where, LIMITS)

"""Reading which offsets are stored, and how often, a window at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from auditlog_consumer.check.recorded import Span
from auditlog_storage.connection import Connection

Longs: TypeAlias = npt.NDArray[np.int64]

WINDOW_OFFSETS: Final = 1_000_000
"""Offsets of one query: 16 bytes each come back."""

_WINDOW: Final = """
    SELECT kafka_offset, toInt64(count()) AS copies FROM SOURCE
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {partition:Int32}
      AND kafka_offset BETWEEN {first:Int64} AND {last:Int64}
    GROUP BY kafka_offset ORDER BY kafka_offset
"""

_NEXT: Final = """
    SELECT count(), min(kafka_offset) FROM SOURCE
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {partition:Int32}
      AND kafka_offset BETWEEN {first:Int64} AND {last:Int64}
"""

PROJECTION: Final = "mergeTreeProjection(currentDatabase(), 'audit_events', 'by_offset')"
"""The projection itself, as a table: which one a query on the table uses is for the engine to choose."""

TABLE: Final = "audit_events"

LIMITS: Final[dict[str, int | str]] = {"optimize_use_projections": 0, "max_memory_usage": 2 << 30}


@dataclass(frozen=True, slots=True)
class Window:
    """What is stored between two offsets: n distinct offsets, ascending, and how many rows each has."""

    first: int
    last: int
    offsets: Longs
    copies: Longs


class StoredOffsets:
    """Which offsets of one partition are stored.

    By the projection `by_offset`, or, when `trusted` is False, by the table itself, which is slow.
    """

    def __init__(self, connection: Connection, span: Span, *, trusted: bool = True) -> None:
        self._connection = connection
        self._where = {"topic_id": span.topic_id, "partition": span.partition}
        source = PROJECTION if trusted else TABLE
        self._window = _WINDOW.replace("SOURCE", source)
        self._next = _NEXT.replace("SOURCE", source)

    def windows(self, first: int, last: int) -> Iterator[Window]:
        """Yield windows that together cover `first` to `last`, each of at most `WINDOW_OFFSETS` offsets,
        unless nothing is stored there."""
        while first <= last:
            end = min(last, first + WINDOW_OFFSETS - 1)
            where = self._where | {"first": first, "last": end}
            table = self._connection.query_arrow(self._window, where, LIMITS)
            if not table.num_rows and end < last:
                end = self._before_next(end + 1, last)
            offsets = table.column("kafka_offset").to_numpy().astype(np.int64, copy=False)
            copies = table.column("copies").to_numpy().astype(np.int64, copy=False)
            yield Window(first, end, offsets, copies)
            first = end + 1

    def rows(self, first: int, last: int) -> int:
        """Return how many rows are stored from `first` to `last`."""
        where = self._where | {"first": first, "last": last}
        return int(self._connection.query_rows(self._next, where, LIMITS)[0][0])

    def _before_next(self, first: int, last: int) -> int:
        """Return the offset before the next stored one, or `last`."""
        where = self._where | {"first": first, "last": last}
        [(count, found)] = self._connection.query_rows(self._next, where, LIMITS)
        return int(found) - 1 if count else last

"""Comparing a batch with what is stored in its range: the only proof that an insert happened."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from auditlog_schemas.errors import TerminalError


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What reading back a batch's range found.

    Attributes:
        missing: rows that are not stored.
        stored: how many of the range's offsets have a row.
        others: offsets that are stored although this batch makes no row of them: earlier rules accepted
            them, or a smaller window did not know the copy, before their range could be recorded.
        twice: offsets that have more than one row: for `auditlog repair`.
    """

    missing: pa.RecordBatch
    stored: int
    others: frozenset[int]
    twice: tuple[int, ...] = ()

    @classmethod
    def of_nothing(cls, rows: pa.RecordBatch) -> ReadBack:
        """Return what is found where nothing is stored yet."""
        return cls(rows, 0, frozenset())


def read_back(rows: pa.RecordBatch, dropped: Container[int], stored: pa.Table) -> ReadBack:
    """Compare a batch with what is stored in its range.

    Args:
        rows: the batch's accepted messages, as `EVENT_ROWS`, in offset order.
        dropped: the offsets of its messages that become no row.
        stored: ``kafka_offset`` and ``event_id`` of what is stored, in offset order.

    Raises:
        TerminalError: another event is stored at one of the offsets, or one where Kafka has no message.
    """
    found = stored.column("kafka_offset").to_numpy()
    if not len(found):
        return ReadBack.of_nothing(rows)
    wanted = rows.column("kafka_offset").to_numpy()
    ids, wanted_ids = _ids(stored.column("event_id").combine_chunks()), _ids(rows.column("event_id"))
    if np.array_equal(found, wanted) and np.array_equal(ids, wanted_ids):
        return ReadBack(rows.slice(0, 0), len(found), frozenset())
    place = np.searchsorted(wanted, found)
    known = place < len(wanted)
    known[known] = wanted[place[known]] == found[known]
    others = frozenset(found[~known].tolist())
    if strangers := [offset for offset in others if offset not in dropped]:
        raise _contradiction(min(strangers), "an event")
    same = (wanted_ids[place[known]] == ids[known]).all(axis=1)
    if not same.all():
        raise _contradiction(int(found[known][~same][0]), "another event")
    missing = np.ones(len(wanted), bool)
    missing[place[known]] = False
    repeated = found[1:] == found[:-1]
    twice = np.unique(found[1:][repeated])
    stored_offsets = len(found) - int(repeated.sum())
    return ReadBack(rows.filter(pa.array(missing)), stored_offsets, others, tuple(twice.tolist()))


def _ids(column: pa.Array[Any]) -> npt.NDArray[np.uint64]:
    """Return n UUIDs of 16 bytes each as two words each, shape (n, 2)."""
    fixed = column.cast(pa.binary(16))
    data: Any = fixed.buffers()[1]
    words = np.frombuffer(data, np.uint64, 2 * (fixed.offset + len(fixed)))
    return words.reshape(-1, 2)[fixed.offset :]


def _contradiction(offset: int, what: str) -> TerminalError:
    return TerminalError(
        f"offset {offset}: ClickHouse stores {what} that Kafka does not have at this offset; "
        "see docs/operations.md, 'stored rows contradict Kafka'"
    )

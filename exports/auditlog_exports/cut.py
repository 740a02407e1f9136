"""Cutting a stream of events into pieces of bounded size, always at the same events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from auditlog_exports.columns import LINE, ROW_BYTES

Sizes: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a piece holds at most; one event it always holds."""

    rows_max: int
    bytes_max: int


class Cutter:
    """Yields a stream piece by piece.

    Where a piece ends depends on its events alone and never on how the stream was divided into batches.

    Args:
        batches: the stream.
        sizes: how many bytes each row of a batch counts for.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch], sizes: Callable[[pa.RecordBatch], Sizes]) -> None:
        self._batches = batches
        self._sizes = sizes
        self._rest: pa.RecordBatch | None = None

    def has_more(self) -> bool:
        """Tell whether the stream goes on."""
        while self._rest is None or not self._rest.num_rows:
            self._rest = next(self._batches, None)
            if self._rest is None:
                return False
        return True

    def piece(self, limits: Limits) -> Iterator[pa.RecordBatch]:
        """Yield the next piece, itself in pieces; nothing when the stream has ended."""
        rows = size = 0
        while self.has_more():
            batch = self._rest
            assert batch is not None
            ends = np.cumsum(self._sizes(batch))
            fitting = int(np.searchsorted(ends, limits.bytes_max - size, side="right"))
            fitting = min(fitting, limits.rows_max - rows)
            if not rows:
                fitting = max(fitting, 1)
            if fitting:
                yield batch.slice(0, fitting)
                rows += fitting
                size += int(ends[fitting - 1])
            self._rest = batch.slice(fitting)
            if fitting < batch.num_rows:
                return


def line_sizes(batch: pa.RecordBatch) -> Sizes:
    """Return the length of each line of a batch of lines."""
    return np.diff(_offsets(batch.column(LINE))).astype(np.int64)


def row_sizes(batch: pa.RecordBatch) -> Sizes:
    """Return about how much memory each row of a batch of columns stands for."""
    return batch.column(ROW_BYTES).to_numpy(zero_copy_only=False).astype(np.int64)


def text_of(batch: pa.RecordBatch) -> memoryview:
    """Return the lines of a batch as they stand in memory, one behind the other."""
    lines: Any = batch.column(LINE)
    data = lines.buffers()[2]
    offsets = _offsets(lines)
    if data is None:
        return memoryview(b"")
    return memoryview(data)[int(offsets[0]) : int(offsets[-1])]


def _offsets(lines: Any) -> npt.NDArray[Any]:
    kind = np.int64 if pa.types.is_large_string(lines.type) else np.int32
    whole = np.frombuffer(lines.buffers()[1], dtype=kind)
    return whole[lines.offset : lines.offset + len(lines) + 1]

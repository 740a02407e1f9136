"""The offsets of dead letters by partition, sorted, in little memory: what does not fit goes to a file."""

from __future__ import annotations

import tempfile
from array import array
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt

Longs: TypeAlias = npt.NDArray[np.int64]

HELD_MAX: Final = 1_000_000
"""Offsets held in memory, 8 bytes each; more are written to a temporary directory as sorted runs."""


class LetterOffsets:
    """A sorted set of offsets for each (topic id, partition); leaving its context removes its files.

    A run is a file of sorted 8-byte integers, as in a log-structured merge tree; a look-up searches each run
    by halving and touches no more of it than it returns.
    """

    def __init__(self, held_max: int = HELD_MAX) -> None:
        self._held_max = held_max
        self._held = 0
        self._new: dict[tuple[UUID, int], array[int]] = {}
        self._runs: dict[tuple[UUID, int], list[Path]] = {}
        self._stretches: dict[tuple[UUID, int], set[tuple[int, int]]] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="auditlog-check-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._directory.cleanup()

    def add(self, topic_id: UUID, partition: int, first: int, last: int) -> None:
        """Add the offsets from `first` to `last`; adding some again changes nothing."""
        if last > first:
            # In memory: only a batch of very many messages that was passed over has letters of this kind.
            self._stretches.setdefault((topic_id, partition), set()).add((first, last))
            return
        self._new.setdefault((topic_id, partition), array("q")).append(first)
        self._held += 1
        if self._held >= self._held_max:
            self._write_runs()

    def between(self, topic_id: UUID, partition: int, first: int, last: int) -> Longs:
        """Return the offsets from `first` to `last`, ascending, each once."""
        if self._held:
            self._write_runs()
        parts = [
            _cut(np.memmap(path, np.int64, mode="r"), first, last)
            for path in self._runs.get((topic_id, partition), ())
        ]
        for start, end in self._stretches.get((topic_id, partition), ()):
            if start <= last and end >= first:
                parts.append(np.arange(max(start, first), min(end, last) + 1))
        return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)

    def _write_runs(self) -> None:
        for (topic_id, partition), offsets in self._new.items():
            runs = self._runs.setdefault((topic_id, partition), [])
            path = Path(self._directory.name) / f"{topic_id}-{partition}-{len(runs)}"
            np.unique(np.frombuffer(offsets, np.int64)).tofile(path)
            runs.append(path)
        self._new = {}
        self._held = 0


def _cut(run: Longs, first: int, last: int) -> Longs:
    return np.array(run[np.searchsorted(run, first) : np.searchsorted(run, last, side="right")])

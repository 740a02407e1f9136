"""Which leader appended what lies before an offset: by that a broker tells that its log is another one.

A log may be cut below what was read, when a replica that lacked messages becomes the leader, and then grow
past it. Every fetch names the leader epoch of what was read last, and the broker compares (KIP-320, KIP-595).
That epoch must be exact: a smaller one would look like a log that was cut.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Final

UNKNOWN: Final = -1


class LeaderEpochs:
    """What is known of the epochs of each partition. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._committed: dict[int, Mapping[int, int]] = {}
        self._read: dict[int, list[tuple[int, int]]] = {}
        self._ends: dict[int, int] = {}

    def before(self, partition: int, offset: int) -> int:
        """Return the epoch of the leader that appended what lies before an offset; -1 when not known."""
        with self._lock:
            is_read = offset <= self._ends.get(partition, 0)
            for first, epoch in reversed(self._read.get(partition, ())):
                if is_read and first < offset:
                    return epoch
            return self._committed.get(partition, {}).get(offset, UNKNOWN)

    def note_committed(self, partition: int, epochs: Mapping[int, int]) -> None:
        """Note what the last owner left, by offset; what was read before it does not count any more."""
        with self._lock:
            self._committed[partition] = dict(epochs)
            self._read.pop(partition, None)

    def note_start(self, partition: int, offset: int) -> None:
        """Note that a partition is read from an offset on."""
        with self._lock:
            read = self._read.get(partition, [])
            self._read[partition] = [each for each in read if each[0] < offset]
            self._ends[partition] = min(self._ends.get(partition, 0), offset)

    def note_read(self, partition: int, batches: Iterable[tuple[int, int, int]]) -> None:
        """Note (first offset, last offset, epoch) of record batches that were read."""
        with self._lock:
            read = self._read.setdefault(partition, [])
            for first, last, epoch in batches:
                self._ends[partition] = last + 1
                if not read or read[-1][1] != epoch:
                    read.append((first, epoch))

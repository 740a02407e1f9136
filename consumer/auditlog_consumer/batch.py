"""Collecting one partition's messages into batches. Knows neither Kafka nor a clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is ready when it reaches the first of these; bytes are those of the message values.

    The first age is for a partition that has been read to its end, where nothing is gained by waiting; in a
    backlog larger batches are cheaper.
    """

    rows_max: int
    bytes_max: int
    age_seconds_max: float
    backlog_age_seconds_max: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one partition; they stand for every offset from `first_offset` to `last_offset`."""

    partition: Partition
    first_offset: int
    messages: Messages

    def __str__(self) -> str:
        return f"{self.partition} {self.first_offset}-{self.last_offset}"

    @property
    def last_offset(self) -> int:
        """Return the offset of the last message."""
        return int(self.messages.offsets[-1])

    @property
    def absent(self) -> int:
        """Return how many offsets of the range hold no message: aborted transactions, control records."""
        return self.last_offset - self.first_offset + 1 - len(self.messages)


class Collector:
    """Collects a partition's messages from one offset on.

    Attributes:
        next_offset: the first offset that no taken batch covers.
        value_bytes: size of the collected message values.
        held_bytes: the memory of the collected messages, about.
    """

    def __init__(self, partition: Partition, next_offset: int, limits: BatchLimits) -> None:
        self.partition = partition
        self.next_offset = next_offset
        self.value_bytes = 0
        self.held_bytes = 0
        self._limits = limits
        self._parts: list[Messages] = []
        self._count = 0
        self._expected = next_offset
        self._skipped_at: int | None = None
        self._end = -1
        self._oldest_seconds = 0.0

    def __len__(self) -> int:
        return self._count

    def add(self, messages: Messages, now_seconds: float) -> int | None:
        """Append messages that follow those collected so far; `now_seconds` is any monotonic clock.

        Messages from before them, left over from an earlier position, are passed over.

        Returns:
            None, or the offset from which to read again: from there on offsets were skipped. They may hold
            no message (aborted transactions, control records) or may just not have been delivered, so the
            messages after them are only taken when they skip the same offsets a second time.
        """
        new = messages.between(int(np.searchsorted(messages.offsets, self._expected)), len(messages))
        before = np.concatenate([[self._expected - 1], new.offsets[:-1]]) + 1
        for place in np.flatnonzero(new.offsets != before).tolist():
            at = int(before[place])
            if self._skipped_at != at:
                self._skipped_at = at
                self._append(new.between(0, place), now_seconds)
                return at
        self._append(new, now_seconds)
        return None

    def reach(self, end_offset: int) -> None:
        """Note that the partition was read to its end, which was at this offset."""
        self._end = end_offset

    def ready(self, now_seconds: float) -> bool:
        """Tell whether the next batch has reached a limit."""
        limits = self._limits
        age_max = limits.age_seconds_max if self._end >= self._expected else limits.backlog_age_seconds_max
        return bool(self._count) and (
            self._count >= limits.rows_max
            or self.value_bytes >= limits.bytes_max
            or now_seconds - self._oldest_seconds >= age_max
        )

    def take(self, now_seconds: float) -> Batch:
        """Remove and return the next batch, within the limits of rows and bytes (but at least a message)."""
        collected = Messages.joined(self._parts)
        within = min(self._limits.rows_max, collected.count_within(self._limits.bytes_max))
        count = max(within, 1)
        batch = Batch(self.partition, self.next_offset, collected.between(0, count))
        rest = collected.between(count, len(collected))
        self._parts = [rest] if len(rest) else []
        self._count, self.value_bytes, self.held_bytes = len(rest), rest.value_bytes, rest.held_bytes
        self.next_offset = batch.last_offset + 1
        self._oldest_seconds = now_seconds
        return batch

    def _append(self, new: Messages, now_seconds: float) -> None:
        if not len(new):
            return
        if not self._count:
            self._oldest_seconds = now_seconds
        self._parts.append(new)
        self._count += len(new)
        self.value_bytes += new.value_bytes
        self.held_bytes += new.held_bytes
        self._expected = int(new.offsets[-1]) + 1

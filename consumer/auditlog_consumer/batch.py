"""Collecting one partition's messages into batches. Knows neither Kafka nor a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition

LARGE_PART: Final = 8
"""At a partition's end a batch of this part of the largest one is large enough to be stored at once."""
SPREAD_MIN: Final = 0.6
"""The age at which a batch is ready varies between this part of the limit and the limit."""


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
    last_offset: int
    messages: Messages

    def __str__(self) -> str:
        return f"{self.partition} {self.first_offset}-{self.last_offset}"

    @property
    def where(self) -> dict[str, object]:
        """Return partition and range, for log lines."""
        at = {"partition": str(self.partition)}
        return {**at, "first_offset": self.first_offset, "last_offset": self.last_offset}

    def cut(self, place: int) -> tuple[Batch, Batch]:
        """Return two batches: of the messages before a place, at least one, and of those from it on."""
        first = int(self.messages.first_offsets[place])
        before = self.messages.between(0, place)
        behind = self.messages.between(place, len(self.messages))
        return (
            Batch(self.partition, self.first_offset, first - 1, before),
            Batch(self.partition, first, self.last_offset, behind),
        )

    @property
    def absent(self) -> int:
        """Return how many offsets of the range hold no message: aborted transactions, control records."""
        return self.last_offset - self.first_offset + 1 - self.messages.covered


class Collector:
    """Collects a partition's messages from one offset on.

    Offsets that are skipped may hold no message (aborted transactions, control records) or may just not have
    been delivered. So what follows them is only taken when they are skipped a second time: `add` and `reach`
    say from where to read again.

    Args:
        partition: whose messages.
        next_offset: where its first batch starts.
        limits: of a batch.
        replay_last: the first batch ends exactly there, whatever the limits say; None for no replay.

    Attributes:
        next_offset: the first offset that no taken batch covers.
        value_bytes: size of the collected message values.
        held_bytes: the memory of the collected messages, about.
        oldest_seconds: since when the next batch has been collected.
    """

    def __init__(
        self, partition: Partition, next_offset: int, limits: BatchLimits, replay_last: int | None = None
    ) -> None:
        self.partition = partition
        self.next_offset = next_offset
        self.value_bytes = 0
        self.held_bytes = 0
        self._limits = limits
        self._replay_last = replay_last
        self._parts: list[Messages] = []
        self._count = 0
        self._has_passed = False
        self._expected = next_offset
        self._skipped: set[tuple[int, int]] = set()
        self._end = -1
        self._end_seconds = float("-inf")
        self.oldest_seconds = 0.0
        self._spread = _spread(next_offset)

    @property
    def offsets(self) -> int:
        """Return how many offsets are collected, with or without a message."""
        return self._expected - self.next_offset

    @property
    def oldest_received_millis(self) -> int | None:
        """Return when the broker received the oldest message collected, since 1970 UTC."""
        return self._parts[0].oldest_millis if self._parts else None

    @property
    def is_replaying(self) -> bool:
        """Tell whether the next batch ends at an announced offset."""
        return self._replay_last is not None

    @property
    def is_full(self) -> bool:
        """Tell whether the next batch has reached its limit of rows or bytes, or what it has to end at."""
        limits = self._limits
        return self._count >= limits.rows_max or self.value_bytes >= limits.bytes_max or self._has_passed

    @property
    def at_end(self) -> bool:
        """Tell whether Kafka had nothing more when it was last asked."""
        return self._end >= self._expected

    def end_replay(self) -> None:
        """Batch what comes as usual: the announced end cannot be reached any more."""
        self._replay_last = None

    def is_behind(self, now_seconds: float, small_bytes: int) -> bool:
        """Tell whether much is waiting in Kafka: the end was not reached lately, or much has come since."""
        waited = now_seconds - self._end_seconds > self._limits.age_seconds_max
        return (waited and not self.at_end) or self.held_bytes > small_bytes or self.is_replaying

    def add(self, messages: Messages, now_seconds: float) -> int | None:
        """Append messages that follow those collected so far; `now_seconds` is any monotonic clock.

        Messages from before them, left over from an earlier position, are passed over.

        Returns:
            None, or the offset from which to read again, since offsets were skipped from there on.
        """
        new = messages.between(int(np.searchsorted(messages.offsets, self._expected)), len(messages))
        if new.passed and self._replay_last is not None:
            new = new.divided_after(self._replay_last)
        firsts = new.first_offsets
        before = np.concatenate([[self._expected - 1], new.offsets[:-1]]) + 1
        places = np.flatnonzero(firsts != before).tolist()
        skipped = [(int(before[place]), int(firsts[place])) for place in places]
        for place, gap in zip(places, skipped, strict=True):
            if gap not in self._skipped:
                self._append(new.between(0, place), now_seconds)
                self._skipped = set(skipped)
                return gap[0]
        self._append(new, now_seconds)
        return None

    def reach(self, end_offset: int, now_seconds: float) -> int | None:
        """Note that the partition was read to its end, which was at this offset.

        Returns:
            None, or the offset from which to read again: the offsets from there to the end were skipped.
        """
        # The end may have moved on since the first time: then only so much was skipped twice.
        skipped = [end for start, end in self._skipped if start == self._expected and end <= end_offset]
        if skipped:
            self._cover(max(skipped), now_seconds)
        if end_offset > self._expected:
            self._skipped = {(self._expected, end_offset)}
            return self._expected
        self._end, self._end_seconds = end_offset, now_seconds
        return None

    def ready(self, now_seconds: float, *, waits: bool = False) -> bool:
        """Tell whether the next batch has reached a limit; one that `waits` is not ready by its age alone."""
        if self._replay_last is not None:
            return self._expected > self._replay_last
        limits = self._limits
        if self.is_full:
            return True
        at_end = self.at_end
        if at_end and self._count >= max(1, limits.rows_max // LARGE_PART):
            return True
        age_max = self._spread * (limits.age_seconds_max if at_end else limits.backlog_age_seconds_max)
        return bool(self.offsets) and not waits and now_seconds - self.oldest_seconds >= age_max

    def take(self, now_seconds: float) -> Batch:
        """Remove and return the next batch, within its limits, but at least a message.

        What was passed over is a batch of its own, unless it lies within a range that was announced.
        """
        collected = Messages.joined(self._parts) if self._parts else Messages.none()
        count = self._count_of_batch(collected)
        taken, rest = collected.between(0, count), collected.between(count, len(collected))
        last = self._expected - 1
        if self._replay_last is not None:
            last, self._replay_last = self._replay_last, None
        elif len(rest):
            last = int(taken.offsets[-1])
        batch = Batch(self.partition, self.next_offset, last, taken)
        self._parts = [rest] if len(rest) else []
        self._count, self.value_bytes, self.held_bytes = len(rest), rest.value_bytes, rest.held_bytes
        self._has_passed = bool(rest.passed)
        self.next_offset = last + 1
        self.oldest_seconds = now_seconds
        self._spread = _spread(self.next_offset)
        return batch

    def _count_of_batch(self, collected: Messages) -> int:
        if self._replay_last is not None:
            return int(np.searchsorted(collected.offsets, self._replay_last, side="right"))
        within = min(self._limits.rows_max, collected.count_within(self._limits.bytes_max))
        if collected.passed:
            first_passed = int(np.searchsorted(collected.offsets, collected.passed[0].last_offset))
            within = min(within, first_passed)
        return max(within, 1)

    def _append(self, new: Messages, now_seconds: float) -> None:
        if not len(new):
            return
        self._parts.append(new)
        self._count += len(new)
        self._has_passed |= bool(new.passed)
        self.value_bytes += new.value_bytes
        self.held_bytes += new.held_bytes
        self._cover(int(new.offsets[-1]) + 1, now_seconds)

    def _cover(self, next_expected: int, now_seconds: float) -> None:
        if self.at_end:
            # Kafka says it only once: as long as nothing came, we were at the end.
            self._end_seconds = now_seconds
        if not self.offsets:
            self.oldest_seconds = now_seconds
        self._expected = next_expected


def _spread(offset: int) -> float:
    """Return a factor from `SPREAD_MIN` to 1, evenly spread over offsets.

    Partitions that were assigned together would all store their batches in the same moment of every second.
    """
    golden = offset * 0.6180339887498949 % 1.0
    return SPREAD_MIN + (1 - SPREAD_MIN) * golden

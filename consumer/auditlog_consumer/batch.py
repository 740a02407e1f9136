"""Collecting one partition's messages into batches. Knows neither Kafka nor a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from auditlog_consumer.partition import Partition


class Message(Protocol):
    """What we use of a Kafka message; confluent_kafka.Message fits."""

    def value(self) -> bytes | None:
        """Return the body; None is a tombstone."""

    def key(self) -> bytes | None:
        """Return the key."""

    def offset(self) -> int:
        """Return the offset in the partition."""

    def timestamp(self) -> tuple[int, int]:
        """Return (kind, milliseconds since 1970 UTC)."""

    def __len__(self) -> int:
        """Return the size of the body in bytes."""


MESSAGE_BYTES: Final = 512
"""What a message takes in memory beside its value and key, about."""


def value_bytes(messages: Sequence[Message]) -> int:
    """Return the size of the messages' values."""
    return sum(map(len, messages))


def held_bytes(messages: Sequence[Message]) -> int:
    """Return the memory that the messages take, about."""
    keys = sum(len(key) for message in messages if (key := message.key()))
    return value_bytes(messages) + keys + MESSAGE_BYTES * len(messages)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is ready when it reaches the first of these."""

    rows_max: int
    bytes_max: int
    age_seconds_max: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one partition in the order of their offsets, which need not be dense.

    It stands for every offset from `first_offset` to `last_offset`, both included.
    """

    partition: Partition
    first_offset: int
    messages: Sequence[Message]

    def __str__(self) -> str:
        return f"{self.partition} {self.first_offset}-{self.last_offset}"

    @property
    def last_offset(self) -> int:
        """Return the offset of the last message."""
        return self.messages[-1].offset()

    @property
    def absent(self) -> int:
        """Return how many offsets of the range hold no message: aborted transactions, control records."""
        return self.last_offset - self.first_offset + 1 - len(self.messages)


class Collector:
    """Collects a partition's messages from one offset on.

    Attributes:
        next_offset: the first offset that no taken batch covers.
        buffered_bytes: size of the collected message values.
        held_bytes: the memory of the collected messages, about.
    """

    def __init__(self, partition: Partition, next_offset: int, limits: BatchLimits) -> None:
        self.partition = partition
        self.next_offset = next_offset
        self.buffered_bytes = 0
        self.held_bytes = 0
        self._limits = limits
        self._messages: list[Message] = []
        self._expected = next_offset
        self._skipped_at: int | None = None
        self._oldest_seconds = 0.0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, messages: Sequence[Message], now_seconds: float) -> int | None:
        """Append messages that follow those collected so far; `now_seconds` is any monotonic clock.

        Messages from before them, left over from an earlier position, are passed over.

        Returns:
            None, or the offset from which to read again: from there on offsets were skipped. They may hold
            no message (aborted transactions, control records) or may just not have been delivered, so the
            messages after them are only taken when they skip the same offsets a second time.
        """
        new, again = self._following(messages)
        if new and not self._messages:
            self._oldest_seconds = now_seconds
        self._messages.extend(new)
        self.buffered_bytes += value_bytes(new)
        self.held_bytes += held_bytes(new)
        return again

    def _following(self, messages: Sequence[Message]) -> tuple[Sequence[Message], int | None]:
        if messages and messages[0].offset() == self._expected:
            dense = messages[-1].offset() - self._expected + 1 == len(messages)
            if dense:
                self._expected += len(messages)
                return messages, None
        new: list[Message] = []
        for message in messages:
            offset = message.offset()
            if offset > self._expected and self._skipped_at != self._expected:
                self._skipped_at = self._expected
                return new, self._expected
            if offset >= self._expected:
                new.append(message)
                self._expected = offset + 1
        return new, None

    def ready(self, now_seconds: float) -> bool:
        """Tell whether the next batch has reached a limit."""
        return bool(self._messages) and (
            len(self._messages) >= self._limits.rows_max
            or self.buffered_bytes >= self._limits.bytes_max
            or now_seconds - self._oldest_seconds >= self._limits.age_seconds_max
        )

    def take(self, now_seconds: float) -> Batch:
        """Remove and return the next batch, within the limits of rows and bytes (but at least a message)."""
        count = self._count_within_limits()
        batch = Batch(self.partition, self.next_offset, self._messages[:count])
        del self._messages[:count]
        self.buffered_bytes -= value_bytes(batch.messages)
        self.held_bytes -= held_bytes(batch.messages)
        self.next_offset = batch.last_offset + 1
        self._oldest_seconds = now_seconds
        return batch

    def _count_within_limits(self) -> int:
        rows_max = self._limits.rows_max
        if self.buffered_bytes <= self._limits.bytes_max:
            return min(rows_max, len(self._messages))
        total = 0
        for index, message in enumerate(self._messages[:rows_max]):
            total += len(message)
            if total > self._limits.bytes_max:
                return max(index, 1)
        return min(rows_max, len(self._messages))

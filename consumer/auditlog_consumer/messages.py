"""Messages of one partition, by column.

Plain lists of bytes and arrays of numbers rather than message objects: a backlog is hundreds of thousands of
messages, and Python's search for garbage would visit every object of them again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter, methodcaller
from typing import Final, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

Longs: TypeAlias = npt.NDArray[np.int64]

BATCH_TOO_LARGE: Final = "batch_too_large"
BATCH_BROKEN: Final = "batch_broken"
BATCH_RULES: Final = frozenset({BATCH_TOO_LARGE, BATCH_BROKEN})
"""Rules of whole record batches: what they reject is no message, and cannot be published again as one."""

MESSAGE_BYTES: Final = 128
"""What a message takes in memory beside its value and key, about."""


class KafkaMessage(Protocol):
    """What we use of a Kafka message; confluent_kafka.Message fits."""

    def value(self) -> bytes | None:
        """Return the body; None is a tombstone."""

    def key(self) -> bytes | None:
        """Return the key."""

    def offset(self) -> int:
        """Return the offset in the partition."""

    def timestamp(self) -> tuple[int, int]:
        """Return (kind, milliseconds since 1970 UTC)."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A record batch, or a part of its offsets, that could not be taken apart into messages.

    Attributes:
        first_offset, last_offset: what it covers, both included.
        received_millis: when the broker received it, since 1970-01-01 UTC.
        rule: one of `BATCH_RULES`.
        detail: what is known of it, in one sentence.
        raw: the whole batch as Kafka keeps it.
    """

    first_offset: int
    last_offset: int
    received_millis: int
    rule: str
    detail: str
    raw: bytes

    @property
    def offsets(self) -> int:
        """Return how many offsets it covers."""
        return self.last_offset - self.first_offset + 1

    def since(self, offset: int) -> PassedOver:
        """Return the part from an offset on, which it covers."""
        return replace(self, first_offset=max(self.first_offset, offset))

    def until(self, offset: int) -> PassedOver:
        """Return the part up to an offset, included, which it covers."""
        return replace(self, last_offset=min(self.last_offset, offset))


@dataclass(frozen=True, slots=True)
class Messages:
    """n messages in the order of their offsets, which need not be dense.

    A batch that was passed over has the place of one message, a tombstone at its last offset.

    Attributes:
        values: n bodies; None is a tombstone.
        keys: n keys.
        offsets: n offsets, ascending.
        received_millis: n broker's times, milliseconds since 1970-01-01 UTC.
        value_sizes, key_sizes: n sizes in bytes, 0 for None. Kept, since a message's size is asked for
            whenever it passes from one collection of messages to the next.
        passed: the batches among them that were passed over, in the order of their offsets.
    """

    values: list[bytes | None]
    keys: list[bytes | None]
    offsets: Longs
    received_millis: Longs
    value_sizes: Longs
    key_sizes: Longs
    passed: tuple[PassedOver, ...] = ()

    @classmethod
    def of(cls, messages: Sequence[KafkaMessage]) -> Messages:
        """Return Kafka's messages by column."""
        count = len(messages)
        return cls.by_column(
            list(map(_VALUE, messages)),
            list(map(_KEY, messages)),
            np.fromiter(map(_OFFSET, messages), np.int64, count),
            np.fromiter(map(_SECOND, map(_TIMESTAMP, messages)), np.int64, count),
        )

    @classmethod
    def by_column(
        cls, values: list[bytes | None], keys: list[bytes | None], offsets: Longs, received_millis: Longs
    ) -> Messages:
        """Return messages whose columns are there already; the sizes are taken from them."""
        return cls(values, keys, offsets, received_millis, _sizes(values), _sizes(keys))

    @classmethod
    def none(cls) -> Messages:
        """Return no messages."""
        return cls.by_column([], [], np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def passing(cls, passed: PassedOver) -> Messages:
        """Return the place of a batch that was passed over."""
        at = np.array([passed.last_offset], np.int64)
        millis = np.array([passed.received_millis], np.int64)
        # Its size is that of what is kept of it.
        size = np.array([len(passed.raw)], np.int64)
        return cls([None], [None], at, millis, size, np.zeros(1, np.int64), (passed,))

    @classmethod
    def joined(cls, parts: Sequence[Messages]) -> Messages:
        """Return the messages of several parts, at least one, that follow each other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            list(chain.from_iterable(part.values for part in parts)),
            list(chain.from_iterable(part.keys for part in parts)),
            np.concatenate([part.offsets for part in parts]),
            np.concatenate([part.received_millis for part in parts]),
            np.concatenate([part.value_sizes for part in parts]),
            np.concatenate([part.key_sizes for part in parts]),
            tuple(chain.from_iterable(part.passed for part in parts)),
        )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def oldest_millis(self) -> int | None:
        """Return when the broker received the first message, since 1970 UTC; None when there is none."""
        return int(self.received_millis[0]) if len(self) else None

    @property
    def value_bytes(self) -> int:
        """Return the size of all values."""
        return int(self.value_sizes.sum())

    @property
    def held_bytes(self) -> int:
        """Return the memory of all this, about."""
        return self.value_bytes + int(self.key_sizes.sum()) + MESSAGE_BYTES * len(self)

    def between(self, start: int, stop: int) -> Messages:
        """Return the messages from the place `start` up to, without, the place `stop`."""
        if start == 0 and stop >= len(self):
            return self
        cut = slice(start, stop)
        offsets = self.offsets[cut]
        passed = self.passed
        if passed:
            ends = set(offsets.tolist())
            passed = tuple(each for each in passed if each.last_offset in ends)
        return Messages(
            self.values[cut],
            self.keys[cut],
            offsets,
            self.received_millis[cut],
            self.value_sizes[cut],
            self.key_sizes[cut],
            passed,
        )

    @property
    def first_offsets(self) -> Longs:
        """Return n offsets: the first one that each place covers."""
        if not self.passed:
            return self.offsets
        firsts = self.offsets.copy()
        for each in self.passed:
            firsts[np.searchsorted(self.offsets, each.last_offset)] = each.first_offset
        return firsts

    @property
    def covered(self) -> int:
        """Return how many offsets the places cover."""
        return len(self) + sum(each.offsets - 1 for each in self.passed)

    def divided_after(self, offset: int) -> Messages:
        """Return the same messages, with a place that ends here if a batch that was passed over goes on."""
        for each in self.passed:
            if each.first_offset <= offset < each.last_offset:
                place = int(np.searchsorted(self.offsets, each.last_offset))
                parts = [each.until(offset), each.since(offset + 1)]
                around = [self.between(0, place), *map(Messages.passing, parts)]
                return Messages.joined([*around, self.between(place + 1, len(self))])
        return self

    def count_within(self, bytes_max: int) -> int:
        """Return how many of the first messages' values fit into so many bytes."""
        return int(np.searchsorted(np.cumsum(self.value_sizes), bytes_max, side="right"))


_VALUE: Final = methodcaller("value")
_KEY: Final = methodcaller("key")
_OFFSET: Final = methodcaller("offset")
_TIMESTAMP: Final = methodcaller("timestamp")
_SECOND: Final = itemgetter(1)


def _sizes(texts: Sequence[bytes | None]) -> Longs:
    whole = cast(Sequence[bytes], texts)
    try:
        return np.fromiter(map(len, whole), np.int64, len(whole))
    except TypeError:
        return np.fromiter((len(text or b"") for text in texts), np.int64, len(texts))

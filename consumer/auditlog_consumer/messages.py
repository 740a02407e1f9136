"""Messages of one partition, by column.

Plain lists of bytes and arrays of numbers rather than message objects: a backlog is hundreds of thousands of
messages, and Python's search for garbage would visit every object of them again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter, methodcaller
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Longs: TypeAlias = npt.NDArray[np.int64]

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
class Messages:
    """n messages in the order of their offsets, which need not be dense.

    Attributes:
        values: n bodies; None is a tombstone.
        keys: n keys.
        offsets: n offsets, ascending.
        received_millis: n broker's times, milliseconds since 1970-01-01 UTC.
        value_bytes: size of all values.
        held_bytes: the memory of all this, about.
    """

    values: list[bytes | None]
    keys: list[bytes | None]
    offsets: Longs
    received_millis: Longs
    value_bytes: int
    held_bytes: int

    @classmethod
    def of(cls, messages: Sequence[KafkaMessage]) -> Messages:
        """Return Kafka's messages by column."""
        count = len(messages)
        return _columns(
            list(map(_VALUE, messages)),
            list(map(_KEY, messages)),
            np.fromiter(map(_OFFSET, messages), np.int64, count),
            np.fromiter(map(_SECOND, map(_TIMESTAMP, messages)), np.int64, count),
        )

    @classmethod
    def none(cls) -> Messages:
        """Return no messages."""
        return _columns([], [], np.empty(0, np.int64), np.empty(0, np.int64))

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
            sum(part.value_bytes for part in parts),
            sum(part.held_bytes for part in parts),
        )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def oldest_millis(self) -> int | None:
        """Return when the broker received the first message, since 1970 UTC; None when there is none."""
        return int(self.received_millis[0]) if len(self) else None

    def between(self, start: int, stop: int) -> Messages:
        """Return the messages from the place `start` up to, without, the place `stop`."""
        if start == 0 and stop >= len(self):
            return self
        cut = slice(start, stop)
        return _columns(self.values[cut], self.keys[cut], self.offsets[cut], self.received_millis[cut])

    def count_within(self, bytes_max: int) -> int:
        """Return how many of the first messages' values fit into so many bytes."""
        if self.value_bytes <= bytes_max:
            return len(self)
        sizes = np.fromiter((len(value or b"") for value in self.values), np.int64, len(self))
        return int(np.searchsorted(np.cumsum(sizes), bytes_max, side="right"))


_VALUE: Final = methodcaller("value")
_KEY: Final = methodcaller("key")
_OFFSET: Final = methodcaller("offset")
_TIMESTAMP: Final = methodcaller("timestamp")
_SECOND: Final = itemgetter(1)


def _columns(
    values: list[bytes | None], keys: list[bytes | None], offsets: Longs, received_millis: Longs
) -> Messages:
    value_bytes = sum(map(len, filter(None, values)))
    key_bytes = sum(map(len, filter(None, keys)))
    held_bytes = value_bytes + key_bytes + MESSAGE_BYTES * len(values)
    return Messages(values, keys, offsets, received_millis, value_bytes, held_bytes)

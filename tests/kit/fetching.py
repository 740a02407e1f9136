"""A fetcher of one topic, and everything that it has told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from auditlog_consumer.fetch.fetcher import Fetcher
from auditlog_consumer.fetch.inbox import Polled

SECONDS_MAX: Final = 90.0


class Fetching:
    """Takes from a fetcher and keeps what comes."""

    def __init__(self, fetcher: Fetcher) -> None:
        self.fetcher = fetcher
        self.polls: list[Polled] = []

    def take(self, messages_max: int = 1_000, seconds: float = 0.1) -> Polled:
        """Take once, and keep it."""
        self.fetcher.wait(seconds)
        self.polls.append(self.fetcher.take(messages_max))
        return self.polls[-1]

    def until(self, is_so: Callable[[], object]) -> None:
        """Take until something is so."""
        deadline = time.monotonic() + SECONDS_MAX
        while not is_so():
            assert time.monotonic() < deadline, f"not so; told lately: {self.polls[-3:]}"
            self.take()

    def for_seconds(self, seconds: float) -> None:
        """Take for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.take(seconds=0.05)

    def until_offset(self, offset: int, partition: int = 0) -> None:
        """Take until this message has come."""
        self.until(lambda: offset in self.offsets(partition)[-1_000:])

    def offsets(self, partition: int = 0) -> list[int]:
        """Return the offsets that came of a partition, in the order in which they came."""
        of_one = [polled.messages[partition] for polled in self.polls if partition in polled.messages]
        return [offset for messages in of_one for offset in messages.offsets.tolist()]

    def ends(self, partition: int = 0) -> list[int]:
        """Return the ends that were told of a partition."""
        return [polled.ends[partition] for polled in self.polls if partition in polled.ends]

    def out_of_range(self, partition: int = 0) -> int:
        """Return how often a partition was said to be out of range."""
        return sum(partition in polled.out_of_range for polled in self.polls)

    @property
    def trouble(self) -> list[str]:
        """Return the errors that will pass."""
        return [str(error) for polled in self.polls for error in polled.trouble]

    @property
    def failures(self) -> dict[int, str]:
        """Return the errors of partitions that cannot be read on."""
        return {number: str(each) for polled in self.polls for number, each in polled.failures.items()}

    @property
    def topic_is_unknown(self) -> bool:
        """Tell whether the topic was said to be unknown."""
        return any(polled.topic_is_unknown for polled in self.polls)


@contextmanager
def fetching(kafka: str, topic: str, starts: Mapping[int, int]) -> Iterator[Fetching]:
    """Read a topic's partitions from some offsets on while inside."""
    fetcher = Fetcher(kafka, {}, topic, "test")
    try:
        for partition, offset in starts.items():
            fetcher.start(partition, offset)
        yield Fetching(fetcher)
    finally:
        fetcher.close()

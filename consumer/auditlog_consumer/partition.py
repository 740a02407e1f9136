"""A partition, and the epoch during which this process may act for it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from auditlog_consumer.runtime import Flag


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition of one incarnation of a topic: a recreated topic has another `topic_id`."""

    topic: str
    topic_id: UUID
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


class EpochEnded(Exception):
    """The partition was taken away: whatever was being done for it stops here, with nothing committed."""


class Epoch:
    """One assignment of one partition to this process. Once it has ended, nothing may be done in its name.

    Thread-safe: the polling thread ends it, storing threads ask it between any two steps.

    Args:
        ended: a flag that is not set.
    """

    def __init__(self, ended: Flag) -> None:
        self._ended = ended
        self._closed = False

    @property
    def alive(self) -> bool:
        """Tell whether the partition is still ours, as far as this process knows."""
        return not self._ended.is_set()

    def end(self) -> None:
        """Let every later `require` and `pause` raise."""
        self._ended.set()

    def close(self) -> None:
        """Let nothing new be announced; what is announced already may be taken to its end."""
        self._closed = True

    def require_open(self) -> None:
        """Raise EpochEnded unless the epoch is alive and not closed."""
        self.require()
        if self._closed:
            raise EpochEnded

    def require(self) -> None:
        """Raise EpochEnded unless the epoch is alive."""
        if self._ended.is_set():
            raise EpochEnded

    def pause(self, seconds: float) -> None:
        """Sleep; raise EpochEnded as soon as the epoch ends."""
        if self._ended.wait(seconds):
            raise EpochEnded

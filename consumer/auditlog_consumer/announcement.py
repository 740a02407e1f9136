"""Announcing a range before anything of it is written, and until when that may begin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from auditlog_consumer import metrics
from auditlog_consumer.engine_clock import EngineClock
from auditlog_consumer.intent import Intent
from auditlog_consumer.partition import Epoch, Partition
from auditlog_schemas.record import micros_of

CLOCK_SECONDS_MAX: Final = 60.0
"""Clocks drift and are set: ClickHouse's is read again when what we know of it is older than this."""


class Announcer(Protocol):
    """Commits offsets for the group; `GroupMember` fits."""

    def announce(self, epoch: Epoch, partition: int, next_offset: int, metadata: str) -> None:
        """Commit an offset with metadata; raises BrokerUnavailable unless the coordinator has both."""

    def leader_epoch(self, partition: int, next_offset: int) -> int:
        """Return the epoch of the leader that appended what lies before an offset; -1 when not known."""

    def commit(self, epoch: Epoch, partition: int, next_offset: int) -> None:
        """Have an offset committed soon, if that is possible."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is to be announced: a range, in the name of an epoch.

    Attributes:
        first, last: the range, both ends included.
        window: over how many offsets before `first` duplicates are looked for.
        seconds: how long from now on its inserts may begin.
    """

    partition: Partition
    epoch: Epoch
    first: int
    last: int
    window: int
    seconds: float

    def make(self, announcer: Announcer, clock: EngineClock) -> datetime:
        """Announce the range; return until when its inserts may begin, by ClickHouse's clock.

        On return the group's coordinator has the intent, we were a member of the group when it took it, and
        the epoch has not ended.

        Raises:
            TransientError: announce it again.
            EpochEnded: the partition was taken away, or begins nothing new.
        """
        clock.refresh(CLOCK_SECONDS_MAX)
        # Counted from before the announcement: Kafka keeps the partition ours for a session from there on.
        deadline = clock.now() + timedelta(seconds=self.seconds)
        at, millis = self.partition, micros_of(deadline) // 1000
        leader_epoch = announcer.leader_epoch(at.number, self.last + 1)
        intent = Intent(at.topic_id, self.first, self.last, self.window, millis, leader_epoch)
        with metrics.STEP_SECONDS.labels("announce").time():
            announcer.announce(self.epoch, at.number, self.first, intent.to_metadata())
        self.epoch.require()
        return deadline

"""The partitions this process has now, and what is under way for each."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from auditlog_consumer.batch import Collector
from auditlog_consumer.judge import Verdicts
from auditlog_consumer.partition import Epoch, Partition
from auditlog_consumer.start import Start
from auditlog_storage.ledger import Range


@dataclass(frozen=True, slots=True)
class Judging:
    """A batch on its way through the judge."""

    verdicts: Future[Verdicts]
    held_bytes: int
    oldest_millis: int | None = None


@dataclass(frozen=True, slots=True)
class Storing:
    """A judged batch on its way into the ledger."""

    range: Future[Range]
    held_bytes: int
    oldest_millis: int | None = None


@dataclass(slots=True)
class Assigned:
    """One assigned partition. Only the polling thread touches it.

    Attributes:
        epoch: of this assignment.
        start: what recovery found out, with the window; None until then.
        collector: None until recovery has found the start.
        recovering: finding the start.
        judging: the batch after the one that is being stored.
        storing: the batch whose range the ledger records next.
        paused: Kafka is not asked for more: not started yet, or enough is held.
        out_of_range: Kafka no longer has the position; nothing more is read until recovery.
    """

    partition: Partition
    epoch: Epoch
    start: Start | None = None
    collector: Collector | None = None
    recovering: Future[Start] | None = None
    judging: Judging | None = None
    storing: Storing | None = None
    paused: bool = True
    out_of_range: bool = False

    @property
    def under_way(self) -> list[Future[Any]]:
        """Return what other threads do for the partition now."""
        steps: list[Future[Any]] = []
        if self.recovering is not None:
            steps.append(self.recovering)
        if self.judging is not None:
            steps.append(self.judging.verdicts)
        if self.storing is not None:
            steps.append(self.storing.range)
        return steps

    @property
    def idle(self) -> bool:
        """Tell whether nothing is collected and nothing under way."""
        return not self.under_way and not (self.collector and self.collector.offsets)

    @property
    def state(self) -> str:
        """Return what the partition does, as the metrics name it."""
        if self.collector is None or self.out_of_range:
            return "recovering"
        return "waiting" if self.paused else "reading"

    @property
    def oldest_received_millis(self) -> int | None:
        """Return when the broker received the oldest message that is not recorded, since 1970 UTC."""
        for held in (self.storing, self.judging):
            if held is not None and held.oldest_millis is not None:
                return held.oldest_millis
        return self.collector.oldest_received_millis if self.collector is not None else None

    @property
    def held_bytes(self) -> int:
        """Return the memory of the messages collected, being judged and being stored, about."""
        collected = self.collector.held_bytes if self.collector else 0
        judging = self.judging.held_bytes if self.judging else 0
        return collected + judging + (self.storing.held_bytes if self.storing else 0)

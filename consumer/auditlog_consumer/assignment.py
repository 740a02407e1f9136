"""The partitions this process has now, and what is under way for each."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from auditlog_consumer.batch import Batch, Collector
from auditlog_consumer.judge import Judged, Verdicts
from auditlog_consumer.partition import Epoch, Partition
from auditlog_consumer.start import Start
from auditlog_consumer.stopped import Stopped
from auditlog_schemas.schema_ids import Answer
from auditlog_storage.ledger import Range


@dataclass(frozen=True, slots=True)
class Ready:
    """A judged batch that is to be stored next; what it holds in memory, about, and its oldest message."""

    verdicts: Verdicts
    held_bytes: int
    oldest_millis: int | None


@dataclass(slots=True)
class Judging:
    """A batch on its way through the judge.

    Attributes:
        batch: what is not judged yet; None once all of it is.
        judged: of this batch, or of as much of it as could be judged.
        ready: what was judged, and comes before the batch.
        lookup: answers about schema ids that the batch waits for; None while nothing is asked for.
        answers: those that were given for this batch.
    """

    batch: Batch | None
    judged: Future[Judged]
    ready: Ready | None = None
    lookup: Future[dict[int, Answer]] | None = None
    answers: dict[int, Answer] = field(default_factory=dict)

    @property
    def held_bytes(self) -> int:
        """Return the memory of all its messages, about."""
        return (self.batch.messages.held_bytes if self.batch else 0) + (
            self.ready.held_bytes if self.ready else 0
        )

    @property
    def oldest_millis(self) -> int | None:
        """Return when the broker received its first message, since 1970 UTC."""
        if self.ready is not None:
            return self.ready.oldest_millis
        return self.batch.messages.oldest_millis if self.batch else None


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
        stopped: why nothing is done for the partition now; its epoch has ended.
        failures: how many times in a row it was stopped, since a batch of it was stored.
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
    stopped: Stopped | None = None
    failures: int = 0

    @property
    def under_way(self) -> list[Future[Any]]:
        """Return what other threads do for the partition now."""
        steps: list[Future[Any]] = []
        if self.recovering is not None:
            steps.append(self.recovering)
        if self.judging is not None:
            steps.append(self.judging.judged)
            if self.judging.lookup is not None:
                steps.append(self.judging.lookup)
        if self.storing is not None:
            steps.append(self.storing.range)
        return steps

    @property
    def waits_for_schema(self) -> bool:
        """Tell whether a batch waits for the registry, and nothing before it is to be stored any more."""
        judging = self.judging
        return judging is not None and judging.lookup is not None and judging.ready is None

    @property
    def is_busy(self) -> bool:
        """Tell whether a batch is being judged or stored."""
        return self.storing is not None or (self.judging is not None and not self.waits_for_schema)

    @property
    def idle(self) -> bool:
        """Tell whether nothing is collected and nothing under way."""
        return not self.under_way and not (self.collector and self.collector.offsets)

    @property
    def state(self) -> str:
        """Return what the partition does, as the metrics name it."""
        if self.stopped is not None:
            return "stopped"
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

"""The partitions this process has now, and what is under way for each."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from auditlog_storage.ledger import Range

from auditlog_consumer.batch import Collector
from auditlog_consumer.partition import Epoch, Partition


@dataclass(slots=True)
class Assigned:
    """One assigned partition. Only the polling thread touches it.

    Attributes:
        collector: None until recovery has found the start offset.
        recovering, storing: what a storing thread does for the partition now; never both.
        paused: Kafka is not asked for more: not started yet, or enough is buffered.
    """

    partition: Partition
    epoch: Epoch = field(default_factory=Epoch)
    collector: Collector | None = None
    recovering: Future[int] | None = None
    storing: Future[Range] | None = None
    paused: bool = True

    @property
    def busy(self) -> Future[int] | Future[Range] | None:
        """Return what is under way, if anything."""
        return self.recovering or self.storing

    def share_of_buffer(self) -> tuple[int, int]:
        """Return (messages, bytes) that wait for their batch."""
        return (len(self.collector), self.collector.buffered_bytes) if self.collector else (0, 0)

"""The consumer: one thread polls Kafka and collects; others judge batches and store them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import wait
from typing import Final
from uuid import UUID

import structlog

from auditlog_consumer.assignment import Assigned, Judging, Storing
from auditlog_consumer.batch import Batch, BatchLimits, Collector
from auditlog_consumer.daemon_pool import DaemonPool
from auditlog_consumer.group import GroupMember, Polled
from auditlog_consumer.judge import Judge, Verdicts
from auditlog_consumer.partition import Epoch, Partition
from auditlog_consumer.patience import persist
from auditlog_consumer.recovery import Recovery
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.store import BatchStore
from auditlog_storage.ledger import Range

POLL_MESSAGES_MAX: Final = 10_000
POLL_SECONDS: Final = 0.05
REVOKED_WAIT_SECONDS_MAX: Final = 5.0
TROUBLE_LOG_SECONDS: Final = 10.0
BACKLOG_AGE_FACTOR: Final = 4
"""How many times longer a batch may wait for more messages while its partition has more."""

_log = structlog.get_logger("auditlog.consumer")


class Consumer:
    """Reads one topic as a member of a group until it is told to stop.

    While one batch of a partition is being stored, the next is judged and the one after it collected.
    Batches of different partitions are stored at the same time, by `storing_threads` threads.
    """

    def __init__(
        self,
        settings: ConsumerSettings,
        topic_id: UUID,
        group: GroupMember,
        recovery: Recovery,
        judge: Judge,
        store: BatchStore,
    ) -> None:
        self._settings = settings
        self._topic_id = topic_id
        self._group = group
        self._recovery = recovery
        self._judge = judge
        self._store = store
        self._assigned: dict[int, Assigned] = {}
        # Judging is bound by the processor, so a second thread for it would only compete.
        self._judging = DaemonPool(1, "judging")
        self._storing = DaemonPool(settings.storing_threads, "storing")
        self._limits = BatchLimits(
            settings.batch_rows_max,
            settings.batch_bytes_max,
            settings.flush_interval_seconds,
            BACKLOG_AGE_FACTOR * settings.flush_interval_seconds,
        )
        self._trouble_logged_seconds = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop` is set; then finish the batches under way, within `stop_seconds_max`.

        Raises:
            TerminalError: something that only an operator can mend; nothing was committed for it.
        """
        self._group.join(self._on_assigned, self._on_revoked)
        try:
            while not stop.is_set():
                self._collect(self._group.poll(POLL_MESSAGES_MAX, POLL_SECONDS))
                self._settle()
                self._start_batches()
                self._balance()
                self._restart()
            self._finish()
        finally:
            self._end(self._assigned)
            self._judging.shutdown()
            self._storing.shutdown()
            self._group.close()

    def _on_assigned(self, numbers: list[int]) -> None:
        for number in numbers:
            partition = Partition(self._settings.topic, self._topic_id, number)
            _log.info("assigned", partition=str(partition))
            self._recover(partition)

    def _recover(self, partition: Partition) -> None:
        """Begin a new epoch: nothing of the partition is read until a storing thread has found its start."""
        assigned = Assigned(partition)
        assigned.recovering = self._storing.submit(self._recovery.start_offset, partition, assigned.epoch)
        self._assigned[partition.number] = assigned

    def _on_revoked(self, numbers: list[int]) -> None:
        """End the epochs, then wait a little: an insert that ends before the next owner starts is simpler."""
        _log.info("revoked", partitions=numbers)
        self._end(numbers)

    def _end(self, numbers: Iterable[int]) -> None:
        ended = [self._assigned.pop(number) for number in list(numbers) if number in self._assigned]
        for assigned in ended:
            assigned.epoch.end()
        wait([step for one in ended for step in one.under_way], REVOKED_WAIT_SECONDS_MAX)

    def _collect(self, polled: Polled) -> None:
        now = time.monotonic()
        for number, messages in polled.messages.items():
            assigned = self._assigned.get(number)
            if assigned is not None and assigned.collector is not None:
                self._read_again(assigned, assigned.collector.add(messages, now))
        for number, end_offset in polled.ends.items():
            assigned = self._assigned.get(number)
            if assigned is not None and assigned.collector is not None:
                assigned.collector.reach(end_offset)
        for number in polled.out_of_range & self._assigned.keys():
            self._group.stop(number)
            self._assigned[number].out_of_range = True
        if polled.trouble and now - self._trouble_logged_seconds > TROUBLE_LOG_SECONDS:
            self._trouble_logged_seconds = now
            _log.warning("Kafka is away; waiting", error=str(polled.trouble[-1]))

    def _read_again(self, assigned: Assigned, offset: int | None) -> None:
        """Go back to where offsets were skipped, if there is such a place."""
        if offset is not None:
            _log.info("offsets skipped; reading them again", partition=str(assigned.partition), offset=offset)
            self._group.start(assigned.partition.number, offset)
            assigned.paused = False

    def _restart(self) -> None:
        """Recover partitions whose position Kafka no longer has, once what was read of them is stored."""
        for number, assigned in list(self._assigned.items()):
            if assigned.out_of_range and assigned.idle:
                _log.warning("position is out of range; recovering", partition=str(assigned.partition))
                self._end([number])
                self._recover(assigned.partition)

    def _finish(self) -> None:
        """Take the batches that are being stored to their end, for a bounded time; begin no others."""
        storing = [one.storing.range for one in self._assigned.values() if one.storing]
        _log.info("stopping", batches_being_stored=len(storing))
        wait(storing, self._settings.stop_seconds_max)
        self._settle()

    def _settle(self) -> None:
        """Take the results of the other threads."""
        for assigned in list(self._assigned.values()):
            if assigned.recovering is not None and assigned.recovering.done():
                self._started(assigned, assigned.recovering.result())
            if assigned.storing is not None and assigned.storing.range.done():
                self._stored(assigned, assigned.storing.range.result())

    def _started(self, assigned: Assigned, offset: int) -> None:
        assigned.recovering = None
        assigned.collector = Collector(assigned.partition, offset, self._limits)
        self._group.start(assigned.partition.number, offset)
        assigned.paused = False
        _log.info("started", partition=str(assigned.partition), offset=offset)

    def _stored(self, assigned: Assigned, done: Range) -> None:
        assigned.storing = None
        self._group.commit(assigned.partition.number, done.next_offset)
        _log.info(
            "stored",
            partition=str(assigned.partition),
            first_offset=done.first_offset,
            last_offset=done.last_offset,
            accepted=done.accepted,
            rejected=done.rejected,
        )

    def _start_batches(self) -> None:
        """Move batches on: from judged to being stored, from collected to being judged."""
        now = time.monotonic()
        for assigned in self._assigned.values():
            judging = assigned.judging
            if judging is not None and judging.verdicts.done() and assigned.storing is None:
                range = self._storing.submit(self._store.store, judging.verdicts.result(), assigned.epoch)
                assigned.storing = Storing(range, judging.held_bytes)
                assigned.judging = None
            collector = assigned.collector
            # A paused partition gets no more: it waits for nothing once its earlier batches are done with.
            full = assigned.paused and not assigned.under_way
            if assigned.judging is None and collector and (full or collector.ready(now)):
                batch = collector.take(now)
                verdicts = self._judging.submit(self._judge_batch, batch, assigned.epoch)
                assigned.judging = Judging(verdicts, batch.messages.held_bytes)

    def _judge_batch(self, batch: Batch, epoch: Epoch) -> Verdicts:
        return persist(epoch, f"judging {batch}", lambda: self._judge.judge(batch))

    def _balance(self) -> None:
        """Pause partitions that hold their share of the memory, resume them when half of it is free."""
        share_bytes = self._settings.buffered_bytes_max // max(len(self._assigned), 1)
        for number, assigned in self._assigned.items():
            if assigned.collector is None or assigned.out_of_range:
                continue
            if not assigned.paused and assigned.held_bytes >= share_bytes:
                self._group.pause([number])
                assigned.paused = True
            elif assigned.paused and assigned.held_bytes < share_bytes // 2:
                self._group.resume([number])
                assigned.paused = False

"""The consumer: one thread polls Kafka and collects; others judge batches and store them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast
from uuid import UUID

import structlog

from auditlog_consumer import metrics
from auditlog_consumer.assignment import Assigned
from auditlog_consumer.batch import Collector
from auditlog_consumer.batch_flow import BatchFlow, Lookups
from auditlog_consumer.fetch.inbox import Polled
from auditlog_consumer.gauges import Gauges
from auditlog_consumer.group import GroupMember
from auditlog_consumer.judge import Judge
from auditlog_consumer.open_transactions import OpenTransactions
from auditlog_consumer.partition import Epoch, EpochEnded, Partition
from auditlog_consumer.recovery import Recovery
from auditlog_consumer.runtime import Flag, Runtime
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.start import Start
from auditlog_consumer.stopped import Stopped, pause_seconds, stops_all
from auditlog_consumer.store import BatchStore
from auditlog_consumer.turns import Turns
from auditlog_schemas.errors import AuditError
from auditlog_storage.ledger import Range

POLL_MESSAGES_MAX: Final = 10_000
POLL_SECONDS: Final = 0.025
CROWDED_POLL_SECONDS: Final = 0.005
REVOKED_WAIT_SECONDS_MAX: Final = 5.0
TROUBLE_LOG_SECONDS: Final = 10.0

_log = structlog.get_logger("auditlog.consumer")


class Consumer:
    """Reads one topic as a member of a group until it is told to stop."""

    def __init__(
        self,
        settings: ConsumerSettings,
        topic_id: UUID,
        group: GroupMember,
        recovery: Recovery,
        judge: Judge,
        lookups: Lookups,
        store: BatchStore,
        runtime: Runtime,
    ) -> None:
        self._settings = settings
        self._topic_id = topic_id
        self._group = group
        self._recovery = recovery
        self._runtime = runtime
        self._assigned: dict[int, Assigned] = {}
        # Apart from the storing threads: a recovery may have to wait for as long as a session.
        self._recovering = runtime.pool(settings.storing_threads, "recovering")
        self._turns = Turns(
            settings.buffered_bytes_max, settings.backlog_turns_max, settings.flush_interval_seconds
        )
        self._flow = BatchFlow(
            settings, self._assigned, self._turns, judge, lookups, store, runtime, self._stop
        )
        self._trouble_logged_seconds = float("-inf")
        self._gauges = Gauges(runtime)
        self._transactions = OpenTransactions(runtime)

    def run(self, stop: Flag) -> None:
        """Consume until `stop` is set; then finish the batches under way, within `stop_seconds_max`.

        What is terminal for one partition stops that partition: it is said, and tried again later.

        Raises:
            TerminalError: what is wrong for the whole process, see `stops_all`; nothing was committed for it.
        """
        self._group.join(self._on_assigned, self._on_revoked, self._on_lost)
        try:
            while not stop.is_set():
                self._collect(self._poll(stop))
                self._settle()
                self._flow.move()
                self._balance()
                self._restart()
                self._retry()
                self._transactions.tell()
                self._gauges.show(self._assigned, self._turns.crowded)
            self._finish()
        finally:
            self._end(self._assigned, "stopped")
            self._flow.shutdown()
            self._recovering.shutdown()
            self._group.close()

    def _on_assigned(self, numbers: list[int]) -> None:
        for number in numbers:
            partition = Partition(self._settings.topic, self._topic_id, number)
            _log.info("assigned", partition=str(partition))
            self._recover(partition, "assigned")

    def _recover(self, partition: Partition, reason: str, failures: int = 0) -> None:
        """Begin a new epoch: nothing of the partition is read until a storing thread has found its start."""
        metrics.began(reason)
        assigned = Assigned(partition, Epoch(self._runtime.flag()), failures=failures)
        assigned.recovering = self._recovering.submit(self._recovery.start, partition, assigned.epoch)
        self._assigned[partition.number] = assigned

    def _on_revoked(self, numbers: list[int]) -> None:
        """Let what is announced already be finished, for a bounded time, then end the epochs."""
        _log.info("revoked", partitions=self._named(numbers))
        taken = [self._assigned[number] for number in numbers if number in self._assigned]
        for assigned in taken:
            assigned.epoch.close()
        self._group.release(numbers)
        storing = [assigned.storing.range for assigned in taken if assigned.storing]
        self._runtime.wait(storing, REVOKED_WAIT_SECONDS_MAX)
        self._end(numbers, "revoked")

    def _on_lost(self, numbers: list[int]) -> None:
        """End the epochs at once: somebody else may have the partitions already."""
        _log.warning("lost", partitions=self._named(numbers))
        self._end(numbers, "lost")

    def _named(self, numbers: Iterable[int]) -> list[str]:
        return [str(Partition(self._settings.topic, self._topic_id, number)) for number in numbers]

    def _end(self, numbers: Iterable[int], reason: str) -> None:
        ended = [self._assigned.pop(number) for number in list(numbers) if number in self._assigned]
        for assigned in ended:
            assigned.epoch.end()
            if assigned.judging is not None and assigned.judging.lookup is not None:
                assigned.judging.lookup.cancel()
        gone = [assigned.partition.number for assigned in ended]
        metrics.ended(reason, gone)
        self._transactions.forget(gone)
        self._group.release(gone)

    def _poll(self, stop: Flag) -> Polled:
        """Take what has been fetched; while there is no room, nothing, but go on polling.

        One message at a time is taken when no batch is on its way that will make room: one that has to be
        whole may just lack it.
        """
        if not self._turns.crowded:
            return self._group.poll(POLL_MESSAGES_MAX, POLL_SECONDS)
        stop.wait(CROWDED_POLL_SECONDS)
        return self._group.poll(0 if self._flow.is_busy else 1, CROWDED_POLL_SECONDS)

    def _collect(self, polled: Polled) -> None:
        now = self._runtime.monotonic()
        for number, messages in polled.messages.items():
            assigned = self._assigned.get(number)
            if assigned is not None and assigned.collector is not None:
                again = assigned.collector.add(messages, now)
                self._read_again(assigned, again)
                if again is not None:
                    # What this poll says of its end was said from another position.
                    polled.ends.pop(number, None)
        for number, end_offset in polled.ends.items():
            assigned = self._assigned.get(number)
            if assigned is not None and assigned.collector is not None:
                self._read_again(assigned, assigned.collector.reach(end_offset, now))
        for number in polled.held.keys() & self._assigned.keys():
            self._transactions.note(self._assigned[number].partition, polled.held[number])
        for number in polled.failures.keys() & self._assigned.keys():
            self._stop(self._assigned[number], polled.failures[number])
        for number in polled.out_of_range & self._assigned.keys():
            self._group.stop(number)
            self._give_up_position(self._assigned[number])
        metrics.KAFKA_ERRORS.inc(len(polled.trouble))
        if polled.trouble and now - self._trouble_logged_seconds > TROUBLE_LOG_SECONDS:
            self._trouble_logged_seconds = now
            _log.warning("Kafka is away; waiting", error=str(polled.trouble[-1]))

    def _give_up_position(self, assigned: Assigned) -> None:
        """Store what was read, and recover then: the rest of it cannot be read from here."""
        assigned.out_of_range = True
        if assigned.collector is not None:
            assigned.collector.end_replay()

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
                self._end([number], "out_of_range")
                self._recover(assigned.partition, "out_of_range")

    def _stop(self, assigned: Assigned, error: BaseException) -> None:
        """Stop one partition and say so; the others go on.

        Raises:
            TerminalError: the error is not of this partition alone.
        """
        if stops_all(error):
            raise error
        partition, failures = assigned.partition, assigned.failures + 1
        pause = pause_seconds(failures)
        metrics.ALARMS.labels("partition_stopped").inc()
        _log.error(
            "partition stopped; see docs/operations.md, 'partition stopped'",
            partition=str(partition),
            error=str(error),
            failures=failures,
            retry_in_seconds=pause,
            # What nobody foresaw is told with its traceback.
            exc_info=None if isinstance(error, AuditError) else error,
        )
        self._end([partition.number], "failed")
        self._group.stop(partition.number)
        self._group.tell(partition.number, str(error) or type(error).__name__)
        stopped = Stopped(cast(Exception, error), self._runtime.monotonic() + pause, assigned.under_way)
        self._assigned[partition.number] = Assigned(
            partition, assigned.epoch, stopped=stopped, failures=failures
        )

    def _retry(self) -> None:
        """Begin anew with stopped partitions whose pause is over."""
        now = self._runtime.monotonic()
        for number, assigned in list(self._assigned.items()):
            if assigned.stopped is not None and assigned.stopped.is_over(now):
                self._recover(self._assigned.pop(number).partition, "retried", assigned.failures)

    def _finish(self) -> None:
        """Take the batches that are being stored to their end, for a bounded time; begin no others."""
        for assigned in self._assigned.values():
            assigned.epoch.close()
        storing = [one.storing.range for one in self._assigned.values() if one.storing]
        _log.info("stopping", batches_being_stored=len(storing))
        deadline = self._runtime.monotonic() + self._settings.stop_seconds_max
        while not all(range.done() for range in storing) and self._runtime.monotonic() < deadline:
            # Not for messages: the group expects us to poll.
            self._group.poll(1, POLL_SECONDS)
        self._settle()
        # Sends the commits of what was just recorded.
        self._group.poll(1, POLL_SECONDS)

    def _settle(self) -> None:
        """Take the results of the other threads."""
        for assigned in list(self._assigned.values()):
            try:
                if assigned.recovering is not None and assigned.recovering.done():
                    self._started(assigned, assigned.recovering.result())
                if assigned.storing is not None and assigned.storing.range.done():
                    self._stored(assigned, assigned.storing.range.result())
            except EpochEnded:
                # While this consumer stops, batches that are not announced yet end without a range.
                pass
            except Exception as error:
                self._stop(assigned, error)

    def _started(self, assigned: Assigned, start: Start) -> None:
        assigned.recovering = None
        assigned.start = start
        replay_last = start.replay.last if start.replay else None
        assigned.collector = Collector(assigned.partition, start.offset, self._flow.limits, replay_last)
        self._group.start(assigned.partition.number, start.offset)
        assigned.paused = False
        metrics.NEXT_OFFSET.labels(str(assigned.partition.number)).set(start.offset)
        metrics.REPLAYS.inc(start.replay is not None)
        _log.info("started", partition=str(assigned.partition), offset=start.offset, replay_last=replay_last)

    def _stored(self, assigned: Assigned, done: Range) -> None:
        assigned.storing = None
        assigned.failures = 0
        metrics.reached(done)
        _log.info(
            "stored",
            partition=str(assigned.partition),
            first_offset=done.first_offset,
            last_offset=done.last_offset,
            accepted=done.accepted,
            rejected=done.rejected,
            duplicates=done.duplicates,
            absent=done.absent,
        )

    def _balance(self) -> None:
        """Have Kafka asked for the partitions whose turn it is, and not for the others."""
        reading = self._turns.choose(self._assigned, self._runtime.monotonic())
        for number, assigned in self._assigned.items():
            if assigned.collector is None or assigned.out_of_range:
                continue
            if assigned.paused and number in reading:
                self._group.resume([number])
            elif not assigned.paused and number not in reading:
                self._group.pause([number])
            assigned.paused = number not in reading

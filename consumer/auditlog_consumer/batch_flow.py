"""Moving batches on: from collected to judged, from judged to stored, the oldest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from operator import itemgetter
from typing import Final, Protocol

from auditlog_consumer.assignment import Assigned, Judging, Ready, Storing
from auditlog_consumer.batch import BatchLimits, Collector
from auditlog_consumer.judge import Judge
from auditlog_consumer.runtime import Runtime
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.start import Start
from auditlog_consumer.store import BatchStore
from auditlog_consumer.turns import Turns
from auditlog_schemas.errors import RegistryUnavailable
from auditlog_schemas.schema_ids import Answer

BACKLOG_AGE_FACTOR: Final = 4
"""How many times longer a batch may wait for more messages while its partition has more."""


class Lookups(Protocol):
    """Asks for schemas; implemented by `auditlog_schemas.schema_lookups.SchemaLookups`."""

    def ask(self, schema_ids: Iterable[int]) -> Future[dict[int, Answer]]:
        """Return the answers to be: one for each id, once all are there. Waits for nothing."""


class BatchFlow:
    """Takes batches from their collectors and gives them to the threads that judge and store them.

    Only the polling thread uses it. While one batch of a partition is being stored, the next is judged and
    the one after it collected.

    Args:
        settings: how large batches are, and how many are stored at the same time.
        assigned: the partitions, by number; they change meanwhile.
        turns: who is read, and whether memory is in use.
        judge, lookups, store: what batches go through.
        runtime: has the threads.
        on_failure: told of a partition whose batch cannot be moved on.
    """

    def __init__(
        self,
        settings: ConsumerSettings,
        assigned: Mapping[int, Assigned],
        turns: Turns,
        judge: Judge,
        lookups: Lookups,
        store: BatchStore,
        runtime: Runtime,
        on_failure: Callable[[Assigned, Exception], None],
    ) -> None:
        self._settings = settings
        self._assigned = assigned
        self._turns = turns
        self._judge = judge
        self._lookups = lookups
        self._store = store
        self._runtime = runtime
        self._on_failure = on_failure
        # Judging is bound by the processor, so a second thread for it would only compete.
        self._judging = runtime.pool(1, "judging")
        self._storing = runtime.pool(settings.storing_threads, "storing")
        self.limits = BatchLimits(
            settings.batch_rows_max,
            settings.batch_bytes_max,
            settings.flush_interval_seconds,
            BACKLOG_AGE_FACTOR * settings.flush_interval_seconds,
        )

    @property
    def is_busy(self) -> bool:
        """Tell whether any batch is being judged or stored: it will make room."""
        return any(one.is_busy for one in self._assigned.values())

    def shutdown(self) -> None:
        """Take nothing more."""
        self._judging.shutdown()
        self._storing.shutdown()

    def move(self) -> None:
        """Move batches on: from judged to being stored, from collected to being judged."""
        now = self._runtime.monotonic()
        for assigned in list(self._assigned.values()):
            if assigned.judging is not None and assigned.start is not None:
                try:
                    self._move_on(assigned, assigned.judging, assigned.start)
                except Exception as error:
                    self._on_failure(assigned, error)
        # The oldest first: where not all can be stored at once, each gets its turn.
        able = [(one, one.collector) for one in self._assigned.values() if one.collector and not one.judging]
        for assigned, collector in sorted(able, key=lambda pair: pair[1].oldest_seconds):
            age_seconds = now - collector.oldest_seconds
            if collector.ready(now, waits=self._waits(assigned, age_seconds)):
                self._judge_next(assigned, collector, now)
        self._make_room(now)

    def _move_on(self, assigned: Assigned, judging: Judging, start: Start) -> None:
        """Move a batch on that is being judged.

        What comes before a message whose schema has to be asked for is stored at once, and the rest waits.
        But a range that was announced stays whole.
        """
        batch = judging.batch
        if batch is not None and judging.lookup is None and not judging.ready and judging.judged.done():
            judged = judging.judged.result()
            is_announced = start.replay is not None and start.replay.first == batch.first_offset
            rest = batch if judged.rest is not None and is_announced else judged.rest
            if judged.verdicts is not None and rest is not batch:
                held_bytes = batch.messages.held_bytes - (rest.messages.held_bytes if rest else 0)
                judging.ready = Ready(judged.verdicts, held_bytes, batch.messages.oldest_millis)
            judging.batch = rest
            if rest is not None:
                judging.lookup = self._lookups.ask(judged.unanswered)
        if (ready := judging.ready) is not None and assigned.storing is None:
            range = self._storing.submit(self._store.store, ready.verdicts, assigned.epoch, start)
            assigned.storing = Storing(range, ready.held_bytes, ready.oldest_millis)
            judging.ready = None
            if judging.batch is None:
                assigned.judging = None
        if judging.batch is not None and judging.lookup is not None and judging.lookup.done():
            judging.answers |= judging.lookup.result()
            judging.lookup = None
            judging.judged = self._judging.submit(self._judge.judge_part, judging.batch, judging.answers)

    def _waits(self, assigned: Assigned, age_seconds: float) -> bool:
        """Tell whether nothing is gained by taking a batch for its age alone: it grows until it is stored.

        In a backlog an old batch is as good as a new one: it waits for its turn to be filled. Others wait
        for a bounded time, or those with a backlog might keep all storing threads busy until it is done.
        """
        if assigned.paused and not assigned.out_of_range and not self._turns.holds(assigned.partition.number):
            return True
        busy = sum(one.is_busy for one in self._assigned.values())
        able = assigned.storing is None and busy < self._settings.storing_threads
        return not able and age_seconds < self.limits.backlog_age_seconds_max

    def _make_room(self, now_seconds: float) -> None:
        """Take the largest batch as it is when memory is full of batches of which none is ready.

        When it is full of what waits for the schema registry, the partition that holds most of it is stopped
        and read again later: others must not wait for its schema.
        """
        if not self._turns.crowded or self.is_busy:
            return
        waiting = [one for one in self._assigned.values() if one.waits_for_schema]
        if sum(one.held_bytes for one in waiting) > self._settings.buffered_bytes_max // 2:
            fullest = max(waiting, key=lambda one: one.held_bytes)
            full = RegistryUnavailable("memory is full of messages whose schemas are asked for")
            self._on_failure(fullest, full)
            return
        able = [
            (one.collector.held_bytes, one, one.collector)
            for one in self._assigned.values()
            if one.collector is not None
            and one.collector.offsets
            and not (one.collector.is_replaying or one.judging)
        ]
        if able:
            _, fullest, collector = max(able, key=itemgetter(0))
            self._judge_next(fullest, collector, now_seconds)

    def _judge_next(self, assigned: Assigned, collector: Collector, now_seconds: float) -> None:
        batch = collector.take(now_seconds)
        assigned.judging = Judging(batch, self._judging.submit(self._judge.judge_part, batch, {}))

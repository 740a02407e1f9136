"""Storing a judged batch: announce it, insert what is missing, dead-letter the rejected, record the range."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

import pyarrow as pa
import structlog

from auditlog_consumer import metrics
from auditlog_consumer.announcement import Announcement, Announcer
from auditlog_consumer.dead_letters import DeadLetterSink
from auditlog_consumer.divide import Divided, divide
from auditlog_consumer.identity import TopicIdentity
from auditlog_consumer.judge import Rejection, Verdicts
from auditlog_consumer.partition import Epoch
from auditlog_consumer.patience import persist
from auditlog_consumer.read_back import ReadBack, read_back
from auditlog_consumer.runtime import Runtime
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.start import Start
from auditlog_consumer.window import keys_of
from auditlog_schemas.errors import TerminalError
from auditlog_storage.deadline import InsertTooLate
from auditlog_storage.ledger import Ledger, Range
from auditlog_storage.stored import StoredRows
from auditlog_storage.writer import EventWriter

TOKEN_STEPS: Final = 4
"""Tokens r0 to r3: a token that ClickHouse took without storing anything is never tried again."""

_log = structlog.get_logger("auditlog.consumer")


class BatchStore:
    """Takes batches to their end. Thread-safe: storing threads share one."""

    def __init__(
        self,
        settings: ConsumerSettings,
        announcer: Announcer,
        identity: TopicIdentity,
        dead_letters: DeadLetterSink,
        writer: EventWriter,
        stored: StoredRows,
        ledger: Ledger,
        runtime: Runtime,
    ) -> None:
        self.settings = settings
        self.announcer = announcer
        self.identity = identity
        self.writer = writer
        self.stored = stored
        self.runtime = runtime
        self._dead_letters = dead_letters
        self._ledger = ledger

    def store(self, verdicts: Verdicts, epoch: Epoch, start: Start) -> Range:
        """Store the batch that follows the last one of this epoch, and return its recorded range.

        On return every message of the batch is a row, read back after its insert, or a dead letter that Kafka
        acknowledged, or a copy of an event within the window; the ledger has a row that says so, read back
        too; and the window covers the batch. When it raises, any part of that may have happened; storing the
        same range again, here or by the next owner, completes it and stores no row twice.

        Raises:
            EpochEnded: the partition was taken away; whoever has it now starts from the ledger.
            TerminalError: what is stored contradicts the batch, or ClickHouse or Kafka refuse it.
        """
        replay = start.replay
        replays = replay is not None and replay.first == verdicts.first_offset
        within = replay.window if replay and replays else self.settings.window_offsets
        batch = divide(verdicts, start.window, within)
        insertion = _Insertion(self, batch, epoch, start, within)
        back = persist(epoch, "storing", insertion.attempt, **verdicts.where)
        rejected = list(_without(verdicts.rejected, back.others))
        if rejected:
            letters = partial(self._dead_letters.write, verdicts.partition, rejected)
            with metrics.STEP_SECONDS.labels("dead_letter").time():
                persist(epoch, "dead-lettering", letters, **verdicts.where)
        range = self._range(batch, rejected, back)
        with metrics.STEP_SECONDS.labels("ledger").time():
            persist(epoch, "recording", partial(insertion.record, range, self._ledger), **verdicts.where)
        metrics.recorded(range, rejected)
        self.announcer.commit(epoch, verdicts.partition.number, range.next_offset)
        self._extend_window(batch, back, epoch, start)
        return range

    def _range(self, batch: Divided, rejected: Sequence[Rejection], back: ReadBack) -> Range:
        verdicts = batch.verdicts
        duplicates = len(frozenset(batch.duplicate_offsets) - back.others)
        return Range(
            topic=verdicts.partition.topic,
            topic_id=verdicts.partition.topic_id,
            kafka_partition=verdicts.partition.number,
            first_offset=verdicts.first_offset,
            last_offset=verdicts.last_offset,
            accepted=back.stored,
            rejected=sum(each.offsets for each in rejected),
            duplicates=duplicates,
            absent=verdicts.absent,
            consumer_group=self.settings.group,
            recorded_at=self.runtime.now(),
        )

    def _extend_window(self, batch: Divided, back: ReadBack, epoch: Epoch, start: Start) -> None:
        at, first, last = batch.verdicts.partition, batch.verdicts.first_offset, batch.verdicts.last_offset
        keys, offsets = batch.keys, batch.offsets
        if back.others:
            # Rows that this batch's rules would not have made: only ClickHouse knows their events.
            ask = partial(self.stored.recent_ids, at.topic_id, at.number, first, last)
            rows = persist(epoch, "reading the window", ask, **batch.verdicts.where).combine_chunks()
            [found] = rows.to_batches()
            keys = keys_of(found.column("account_id"), found.column("event_id"))
            offsets = found.column("kafka_offset").to_numpy()
        start.window.extend(keys, offsets, first, last)


class _Insertion:
    """Announce, read what is stored, insert what is missing, read back: tried until it is proven."""

    def __init__(self, store: BatchStore, batch: Divided, epoch: Epoch, start: Start, within: int) -> None:
        self._store = store
        self._batch = batch
        self._epoch = epoch
        self._clock = start.clock
        self._at, self._within = batch.verdicts.partition, within
        self._first, self._last = batch.verdicts.first_offset, batch.verdicts.last_offset
        self._read_seconds = store.runtime.monotonic()
        self._deadline: datetime | None = None
        self._token_step = 0
        # Beyond what recovery found stored or announced nobody has inserted anything, until we try.
        self._maybe_stored = self._first < start.stored_until

    def attempt(self) -> ReadBack:
        """Return what reading back found once no row is missing.

        Raises:
            TransientError: try again: nothing that happened so far makes that wrong.
            EpochEnded, TerminalError: as in `BatchStore.store`.
        """
        self._epoch.require_open()
        self._store.identity.confirm(self._read_seconds)
        if self._batch.verdicts.absent:
            self._store.identity.confirm_gaps(self._read_seconds)
        self._epoch.require_open()
        self._announce()
        batch = self._batch
        back = self._read_back() if self._maybe_stored else ReadBack.of_nothing(batch.rows)
        self._maybe_stored = True
        while back.missing.num_rows:
            if self._token_step == TOKEN_STEPS:
                raise TerminalError(
                    f"{batch.verdicts}: ClickHouse acknowledged {TOKEN_STEPS} inserts and "
                    f"{back.missing.num_rows} rows are still not stored; "
                    "see docs/operations.md, 'acknowledged but not stored'"
                )
            self._epoch.require()
            self._insert(back.missing)
            back = self._read_back()
            if back.missing.num_rows:
                # Only now, after a success: after an error the same token may still come to store its rows.
                _log.warning(
                    "insert was acknowledged but stored nothing", **batch.verdicts.where, token=self._token()
                )
                self._token_step += 1
                metrics.TOKEN_STEPS.labels(f"r{self._token_step}").inc()
                metrics.ALARMS.labels("acknowledged_not_stored").inc()
        return back

    def record(self, range: Range, ledger: Ledger) -> None:
        """Append the range to the ledger, under the deadline of an announcement.

        Raises:
            TransientError, StorageRejected: as in `Ledger.append`.
        """
        if self._deadline is None:
            self._announce()
        self._epoch.require()
        try:
            ledger.append(range, self._deadline)
        except InsertTooLate:
            metrics.INSERTS_TOO_LATE.inc()
            self._deadline = None
            self._clock.read()
            raise

    def _announce(self) -> None:
        """Announce the range; from then on it is known until when its inserts may begin."""
        seconds = self._store.settings.insert_seconds_max
        about = Announcement(self._at, self._epoch, self._first, self._last, self._within, seconds)
        self._deadline = about.make(self._store.announcer, self._clock)

    def _insert(self, rows: pa.RecordBatch) -> None:
        try:
            with metrics.STEP_SECONDS.labels("insert").time():
                self._store.writer.insert(rows, self._token(), self._deadline)
        except InsertTooLate:
            metrics.INSERTS_TOO_LATE.inc()
            self._clock.read()
            raise

    def _token(self) -> str:
        at = self._at
        return f"{at.topic_id}/{at.number}/{self._first}-{self._last}/r{self._token_step}"

    def _read_back(self) -> ReadBack:
        at = self._at
        with metrics.STEP_SECONDS.labels("read_back").time():
            stored = self._store.stored.offsets(at.topic_id, at.number, self._first, self._last)
        back = read_back(self._batch.rows, self._batch.dropped_offsets, stored)
        if back.twice:
            metrics.ALARMS.labels("stored_twice").inc()
            _log.error(
                "stored twice; `auditlog repair` removes the second row",
                **self._batch.verdicts.where,
                offsets=len(back.twice),
                first_of_them=back.twice[0],
            )
        return back


def _without(rejected: Iterable[Rejection], stored: AbstractSet[int]) -> Iterator[Rejection]:
    """Yield the rejections without the offsets that have a row: an earlier try accepted those."""
    offsets = sorted(stored)
    for each in rejected:
        first = each.offset
        inside = offsets[bisect_left(offsets, first) : bisect_right(offsets, each.last_offset)]
        for offset in (*inside, each.last_offset + 1):
            if offset > first:
                yield each if not inside else replace(each, offset=first, offsets=offset - first)
            first = offset + 1

"""Doing what a plan says, one step at a time, each read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import pyarrow as pa
import pyarrow.compute as pc

from auditlog_consumer.acknowledged import AcknowledgedWriter
from auditlog_consumer.check import Report, check
from auditlog_consumer.dead_letters import DeadLetterSink
from auditlog_consumer.judge import Judge
from auditlog_consumer.partition import Partition
from auditlog_consumer.repair.broken_range import RangeReader
from auditlog_consumer.repair.plan import Plan, Step, make_plan
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import Topics
from auditlog_schemas.errors import TerminalError
from auditlog_storage.connection import Connection
from auditlog_storage.removals import Removals
from auditlog_storage.stored import StoredRows
from auditlog_storage.tables import EVENT_ROWS
from auditlog_storage.writer import EventWriter

INSERT_ROWS_MAX: Final = 50_000
INSERT_BYTES_MAX: Final = 32 << 20
ROUNDS_MAX: Final = 20
"""A check keeps so many findings; what is beyond them is for the next round."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a repair did, and what the check says afterwards.

    Attributes:
        stored: rows that were stored again.
        dead_lettered: letters that were written again.
        removed: surplus rows that were removed.
        left: what is left for an operator.
        report: of the check after the repair.
    """

    stored: int
    dead_lettered: int
    removed: int
    left: tuple[Step, ...]
    report: Report


def repair(
    connection: Connection,
    settings: ConsumerSettings,
    judge: Judge,
    removed_by: str,
    partition: int | None = None,
) -> Done:
    """Check the log, or one partition, mend what can be mended, and check again.

    On return every step was read back. When it raises, some steps are done and others are not; running it
    again goes on. Consumers may work meanwhile: only offsets below the ledger's ends are touched.

    Raises:
        StorageUnavailable, BrokerUnavailable, RegistryUnavailable: something did not answer.
        TerminalError: ClickHouse acknowledged rows that are not there when read back.
    """
    worker = _Worker(connection, settings, judge, removed_by)
    plan = make_plan(connection, settings, judge, partition)
    for _ in range(ROUNDS_MAX):
        if not plan.can_mend:
            break
        before = plan
        worker.work(plan)
        plan = make_plan(connection, settings, judge, partition)
        if plan == before:
            break
    report = check(connection, settings, partition)
    left = tuple(step for step in plan.steps if step.action == "explain")
    return Done(worker.stored, worker.dead_lettered, worker.removed, left, report)


class _Worker:
    def __init__(
        self, connection: Connection, settings: ConsumerSettings, judge: Judge, removed_by: str
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._judge = judge
        self._removals = Removals(connection, removed_by)
        self._topics = Topics(settings.kafka, settings.kafka_config)
        self.stored = self.dead_lettered = self.removed = 0

    def work(self, plan: Plan) -> None:
        """Take the steps of a plan."""
        for step in plan.steps:
            if step.action == "apply_mask":
                self._removals.apply_mask()
            elif step.action == "remove_copies":
                where = (UUID(step.topic_id), step.partition, step.first_offset, step.last_offset)
                self.removed += self._removals.remove_copies(*where)
            elif step.action == "store":
                self._store(step)
            elif step.action == "dead_letter":
                self._dead_letter(step)

    def _store(self, step: Step) -> None:
        partition, reader = self._source(step)
        wanted = pa.array(sorted(step.offsets), pa.int64())
        parts: list[pa.RecordBatch] = []
        for verdicts in reader.verdicts(partition, step.first_offset, step.last_offset):
            chosen = pc.is_in(verdicts.rows.column("kafka_offset"), value_set=wanted)
            rows = verdicts.rows.filter(chosen).cast(EVENT_ROWS)
            if sum(part.num_rows for part in parts) + rows.num_rows > INSERT_ROWS_MAX or (
                sum(part.nbytes for part in parts) > INSERT_BYTES_MAX
            ):
                self._insert(partition, parts)
                parts = []
            if rows.num_rows:
                parts.append(rows)
        self._insert(partition, parts)

    def _insert(self, partition: Partition, parts: list[pa.RecordBatch]) -> None:
        """Insert the rows of some pages that are not stored, as one record batch, and read them back."""
        batches = pa.Table.from_batches(parts, EVENT_ROWS).combine_chunks().to_batches()
        if not batches:
            return
        [rows] = batches
        missing = self._missing(partition, rows)
        if not missing.num_rows:
            return
        offsets = missing.column("kafka_offset")
        first, last = offsets[0].as_py(), offsets[-1].as_py()
        # A token of its own: the consumer's may be logged without their rows, and would drop these.
        token = f"{partition.topic_id}/{partition.number}/{first}-{last}/repair-{uuid4()}"
        EventWriter(self._connection).insert(missing, token)
        if left := self._missing(partition, rows).num_rows:
            raise TerminalError(
                f"{partition}: ClickHouse acknowledged an insert and {left} of its rows are not stored; see "
                "docs/operations.md, 'acknowledged but not stored'"
            )
        self.stored += missing.num_rows

    def _missing(self, partition: Partition, rows: pa.RecordBatch) -> pa.RecordBatch:
        offsets = rows.column("kafka_offset")
        first, last = offsets[0].as_py(), offsets[-1].as_py()
        stored = StoredRows(self._connection).offsets(partition.topic_id, partition.number, first, last)
        there = pc.is_in(offsets, value_set=stored.column("kafka_offset").combine_chunks())
        return rows.filter(pc.invert(there))

    def _dead_letter(self, step: Step) -> None:
        partition, reader = self._source(step)
        writer = AcknowledgedWriter(self._settings.kafka, self._settings.kafka_config)
        sink = DeadLetterSink(writer, self._settings.dead_topic, self._judge.catalog.version)
        try:
            for rejected in reader.letters(partition, step.first_offset, step.last_offset, step.offsets):
                sink.write(partition, rejected)
                self.dead_lettered += len(rejected)
        finally:
            writer.close()

    def _source(self, step: Step) -> tuple[Partition, RangeReader]:
        partition = Partition(self._settings.topic, UUID(step.topic_id), step.partition)
        info = self._topics.find(partition.topic)
        if info is None or info.topic_id != partition.topic_id:
            raise TerminalError(
                f"topic {partition.topic} was deleted and made again meanwhile; see docs/operations.md, "
                "'topic recreated'"
            )
        low, _ = self._topics.ends(partition.topic, partition.number)
        return partition, RangeReader(self._settings, self._judge, low)

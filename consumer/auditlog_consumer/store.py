"""Storing one batch: judge it, dead-letter the rejected, insert what is missing, record the range."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import structlog
from auditlog_schemas.errors import TerminalError
from auditlog_storage.ledger import Ledger, Range
from auditlog_storage.stored import StoredRows
from auditlog_storage.writer import EventWriter

from auditlog_consumer.batch import Batch
from auditlog_consumer.dead_letters import DeadLetterSink
from auditlog_consumer.judge import Judge, Verdicts
from auditlog_consumer.partition import Epoch
from auditlog_consumer.patience import persist

TOKEN_STEPS: Final = 4
"""Tokens r0 to r3: a token that ClickHouse took without storing anything is never tried again."""

_log = structlog.get_logger("auditlog.consumer")


class BatchStore:
    """Takes batches to their end. Thread-safe: storing threads share one."""

    def __init__(
        self,
        judge: Judge,
        dead_letters: DeadLetterSink,
        writer: EventWriter,
        stored: StoredRows,
        ledger: Ledger,
        group: str,
    ) -> None:
        self._judge = judge
        self._dead_letters = dead_letters
        self._writer = writer
        self._stored = stored
        self._ledger = ledger
        self._group = group

    def store(self, batch: Batch, epoch: Epoch) -> Range:
        """Store a batch and return its recorded range.

        On return every message of the batch is either a row, read back after its insert, or a dead letter
        that Kafka acknowledged, and the ledger has a row that says so. When it raises, any part of that may
        have happened, except the ledger row; storing the same messages again completes it without storing a
        row twice.

        Raises:
            EpochEnded: the partition was taken away; whoever has it now starts from the ledger.
            TerminalError: what is stored contradicts the batch, or ClickHouse or Kafka refuse it.
        """
        verdicts = persist(epoch, f"judging {_name(batch)}", lambda: self._judge.judge(batch))
        if verdicts.rejected:
            persist(
                epoch,
                f"dead-lettering {_name(batch)}",
                lambda: self._dead_letters.write(batch.partition, verdicts.rejected),
            )
        self._insert_missing(batch, verdicts.rows, epoch)
        range = self._range(batch, verdicts)
        persist(epoch, f"recording {_name(batch)}", lambda: self._ledger.append(range))
        return range

    def _insert_missing(self, batch: Batch, rows: pa.RecordBatch, epoch: Epoch) -> None:
        """Insert the rows that are not there, until reading back finds them all."""
        for step in range(TOKEN_STEPS):
            missing = persist(epoch, f"reading back {_name(batch)}", lambda: self._missing(batch, rows))
            if not missing.num_rows:
                return
            if step:
                _log.warning("insert was acknowledged but stored nothing", batch=_name(batch), step=step)
            token = f"{batch.partition.topic_id}/{batch.partition.number}"
            token += f"/{batch.first_offset}-{batch.last_offset}/r{step}"
            persist(epoch, f"inserting {_name(batch)}", lambda: self._writer.insert(missing, token))  # noqa: B023
        missing = persist(epoch, f"reading back {_name(batch)}", lambda: self._missing(batch, rows))
        if missing.num_rows:
            raise TerminalError(
                f"{_name(batch)}: ClickHouse acknowledged {TOKEN_STEPS} inserts and {missing.num_rows} rows "
                "are still not stored; see docs/operations.md, 'acknowledged but not stored'"
            )

    def _missing(self, batch: Batch, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows whose offset is not stored yet."""
        at = batch.partition
        stored = self._stored.offsets(at.topic_id, at.number, batch.first_offset, batch.last_offset)
        if not stored.num_rows:
            return rows
        known = dict(zip(stored["kafka_offset"].to_pylist(), stored["event_id"].to_pylist(), strict=True))
        offsets, ids = rows.column("kafka_offset").to_pylist(), rows.column("event_id").to_pylist()
        for offset, event_id in zip(offsets, ids, strict=True):
            if known.get(offset, event_id) != event_id:
                raise TerminalError(
                    f"{at} offset {offset}: ClickHouse stores another event for this offset than Kafka "
                    "has; see docs/operations.md, 'stored rows contradict Kafka'"
                )
        return rows.filter(pa.array([offset not in known for offset in offsets]))

    def _range(self, batch: Batch, verdicts: Verdicts) -> Range:
        return Range(
            topic=batch.partition.topic,
            topic_id=batch.partition.topic_id,
            kafka_partition=batch.partition.number,
            first_offset=batch.first_offset,
            last_offset=batch.last_offset,
            accepted=verdicts.rows.num_rows,
            rejected=len(verdicts.rejected),
            duplicates=0,
            absent=batch.absent,
            consumer_group=self._group,
            recorded_at=datetime.now(UTC),
        )


def _name(batch: Batch) -> str:
    return f"{batch.partition} {batch.first_offset}-{batch.last_offset}"

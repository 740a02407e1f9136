"""Storing a judged batch: dead-letter the rejected, insert what is missing, record the range."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog

from auditlog_consumer.dead_letters import DeadLetterSink
from auditlog_consumer.judge import Verdicts
from auditlog_consumer.partition import Epoch
from auditlog_consumer.patience import persist
from auditlog_schemas.errors import TerminalError
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
        dead_letters: DeadLetterSink,
        writer: EventWriter,
        stored: StoredRows,
        ledger: Ledger,
        group: str,
    ) -> None:
        self._dead_letters = dead_letters
        self._writer = writer
        self._stored = stored
        self._ledger = ledger
        self._group = group

    def store(self, verdicts: Verdicts, epoch: Epoch) -> Range:
        """Store a judged batch and return its recorded range.

        On return every message of the batch is either a row, read back after its insert, or a dead letter
        that Kafka acknowledged, and the ledger has a row that says so. When it raises, any part of that may
        have happened, except the ledger row; storing the same messages again completes it without storing a
        row twice.

        Raises:
            EpochEnded: the partition was taken away; whoever has it now starts from the ledger.
            TerminalError: what is stored contradicts the batch, or ClickHouse or Kafka refuse it.
        """
        if verdicts.rejected:
            persist(
                epoch,
                f"dead-lettering {verdicts}",
                lambda: self._dead_letters.write(verdicts.partition, verdicts.rejected),
            )
        self._insert_missing(verdicts, epoch)
        range = self._range(verdicts)
        persist(epoch, f"recording {verdicts}", lambda: self._ledger.append(range))
        return range

    def _insert_missing(self, verdicts: Verdicts, epoch: Epoch) -> None:
        """Insert the rows that are not there, until reading back finds them all."""
        missing = self._read_back(verdicts, epoch)
        for step in range(TOKEN_STEPS):
            if not missing.num_rows:
                return
            if step:
                _log.warning("insert was acknowledged but stored nothing", batch=str(verdicts), step=step)
            self._insert(verdicts, missing, step, epoch)
            missing = self._read_back(verdicts, epoch)
        if missing.num_rows:
            raise TerminalError(
                f"{verdicts}: ClickHouse acknowledged {TOKEN_STEPS} inserts and {missing.num_rows} rows "
                "are still not stored; see docs/operations.md, 'acknowledged but not stored'"
            )

    def _insert(self, verdicts: Verdicts, rows: pa.RecordBatch, step: int, epoch: Epoch) -> None:
        at = verdicts.partition
        token = f"{at.topic_id}/{at.number}/{verdicts.first_offset}-{verdicts.last_offset}/r{step}"
        persist(epoch, f"inserting {verdicts}", lambda: self._writer.insert(rows, token))

    def _read_back(self, verdicts: Verdicts, epoch: Epoch) -> pa.RecordBatch:
        """Return the rows that are not stored."""
        at, first, last = verdicts.partition, verdicts.first_offset, verdicts.last_offset
        stored = persist(
            epoch,
            f"reading back {verdicts}",
            lambda: self._stored.offsets(at.topic_id, at.number, first, last),
        )
        return missing_rows(verdicts.rows, stored)

    def _range(self, verdicts: Verdicts) -> Range:
        return Range(
            topic=verdicts.partition.topic,
            topic_id=verdicts.partition.topic_id,
            kafka_partition=verdicts.partition.number,
            first_offset=verdicts.first_offset,
            last_offset=verdicts.last_offset,
            accepted=verdicts.rows.num_rows,
            rejected=len(verdicts.rejected),
            duplicates=0,
            absent=verdicts.absent,
            consumer_group=self._group,
            recorded_at=datetime.now(UTC),
        )


def missing_rows(rows: pa.RecordBatch, stored: pa.Table) -> pa.RecordBatch:
    """Return those of a batch's rows whose offset is not stored.

    Args:
        rows: the batch, as `EVENT_ROWS`, in offset order.
        stored: ``kafka_offset`` and ``event_id`` of what is stored in the batch's range, in offset order.

    Raises:
        TerminalError: another event is stored at one of the offsets, or an event where the batch has none.
    """
    if not stored.num_rows:
        return rows
    wanted = rows.column("kafka_offset").to_numpy()
    found = stored.column("kafka_offset").to_numpy()
    place = np.searchsorted(wanted, found)
    known = place < len(wanted)
    known[known] = wanted[place[known]] == found[known]
    if not known.all():
        raise _contradiction(int(found[~known][0]), "an event")
    same = _ids(rows.column("event_id"))[place] == _ids(stored.column("event_id").combine_chunks())
    if not same.all():
        raise _contradiction(int(found[~same][0]), "another event")
    missing = np.ones(len(wanted), bool)
    missing[place] = False
    return rows.filter(pa.array(missing))


def _ids(column: pa.Array[Any]) -> npt.NDArray[np.void]:
    """Return UUIDs of 16 bytes each as values that compare as a whole."""
    fixed = column.cast(pa.binary(16))
    data: Any = fixed.buffers()[1]
    ids: npt.NDArray[np.void] = np.frombuffer(data, "V16")
    return ids[fixed.offset : fixed.offset + len(fixed)]


def _contradiction(offset: int, what: str) -> TerminalError:
    return TerminalError(
        f"offset {offset}: ClickHouse stores {what} that Kafka does not have at this offset; "
        "see docs/operations.md, 'stored rows contradict Kafka'"
    )

"""Storing a judged batch: insert what is missing, dead-letter the rejected, record the range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
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
        have happened, except the ledger row; storing the same messages again completes it. That stores no row
        twice unless an insert of this process still ran in ClickHouse when another one read back.

        Raises:
            EpochEnded: the partition was taken away; whoever has it now starts from the ledger.
            TerminalError: what is stored contradicts the batch, or ClickHouse or Kafka refuse it.
        """
        stored = self._insert_missing(verdicts, epoch)
        rejected = [each for each in verdicts.rejected if each.offset not in stored]
        if rejected:
            letters = partial(self._dead_letters.write, verdicts.partition, rejected)
            persist(epoch, f"dead-lettering {verdicts}", letters)
        range = self._range(verdicts, len(rejected))
        persist(epoch, f"recording {verdicts}", lambda: self._ledger.append(range))
        return range

    def _insert_missing(self, verdicts: Verdicts, epoch: Epoch) -> frozenset[int]:
        """Insert the rows that are not there, until reading back finds them all.

        Returns the offsets of rejected messages that are stored nevertheless: earlier rules accepted them
        before their range could be recorded. They count as accepted.
        """
        back = self._read_back(verdicts, epoch)
        for step in range(TOKEN_STEPS):
            if not back.missing.num_rows:
                return back.rejected
            if step:
                _log.warning("insert was acknowledged but stored nothing", batch=str(verdicts), step=step)
            self._insert(verdicts, back.missing, step, epoch)
            back = self._read_back(verdicts, epoch)
        if back.missing.num_rows:
            raise TerminalError(
                f"{verdicts}: ClickHouse acknowledged {TOKEN_STEPS} inserts and {back.missing.num_rows} rows "
                "are still not stored; see docs/operations.md, 'acknowledged but not stored'"
            )
        return back.rejected

    def _insert(self, verdicts: Verdicts, rows: pa.RecordBatch, step: int, epoch: Epoch) -> None:
        at = verdicts.partition
        token = f"{at.topic_id}/{at.number}/{verdicts.first_offset}-{verdicts.last_offset}/r{step}"
        persist(epoch, f"inserting {verdicts}", lambda: self._writer.insert(rows, token))

    def _read_back(self, verdicts: Verdicts, epoch: Epoch) -> ReadBack:
        at, first, last = verdicts.partition, verdicts.first_offset, verdicts.last_offset
        stored = persist(
            epoch,
            f"reading back {verdicts}",
            lambda: self._stored.offsets(at.topic_id, at.number, first, last),
        )
        return read_back(verdicts.rows, [each.offset for each in verdicts.rejected], stored)

    def _range(self, verdicts: Verdicts, rejected: int) -> Range:
        return Range(
            topic=verdicts.partition.topic,
            topic_id=verdicts.partition.topic_id,
            kafka_partition=verdicts.partition.number,
            first_offset=verdicts.first_offset,
            last_offset=verdicts.last_offset,
            accepted=verdicts.rows.num_rows + len(verdicts.rejected) - rejected,
            rejected=rejected,
            duplicates=0,
            absent=verdicts.absent,
            consumer_group=self._group,
            recorded_at=datetime.now(UTC),
        )


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What reading back a batch's range found: rows that are not stored, rejected offsets that are."""

    missing: pa.RecordBatch
    rejected: frozenset[int]


def read_back(rows: pa.RecordBatch, rejected: Sequence[int], stored: pa.Table) -> ReadBack:
    """Compare a batch with what is stored in its range.

    Args:
        rows: the batch's accepted messages, as `EVENT_ROWS`, in offset order.
        rejected: the offsets of its rejected ones.
        stored: ``kafka_offset`` and ``event_id`` of what is stored, in offset order.

    Raises:
        TerminalError: another event is stored at one of the offsets, or one where Kafka has no message.
    """
    if not stored.num_rows:
        return ReadBack(rows, frozenset())
    wanted = rows.column("kafka_offset").to_numpy()
    found = stored.column("kafka_offset").to_numpy()
    place = np.searchsorted(wanted, found)
    known = place < len(wanted)
    known[known] = wanted[place[known]] == found[known]
    others = frozenset(found[~known].tolist())
    if strangers := others - frozenset(rejected):
        raise _contradiction(min(strangers), "an event")
    ids = _ids(stored.column("event_id").combine_chunks())
    same = _ids(rows.column("event_id"))[place[known]] == ids[known]
    if not same.all():
        raise _contradiction(int(found[known][~same][0]), "another event")
    missing = np.ones(len(wanted), bool)
    missing[place[known]] = False
    return ReadBack(rows.filter(pa.array(missing)), others)


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

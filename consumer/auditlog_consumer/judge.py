"""Judging a batch: every message is accepted as a row or rejected with its rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from auditlog_consumer.batch import Batch
from auditlog_consumer.messages import Messages, PassedOver
from auditlog_consumer.own_rows import own_rows, without_signatures
from auditlog_consumer.partition import Partition
from auditlog_consumer.rows import to_rows
from auditlog_schemas.catalog import Catalog
from auditlog_schemas.codec import MessageDecoder, WriterSchemas
from auditlog_schemas.columnar import Decoded
from auditlog_schemas.columnar_events import EventDecoder
from auditlog_schemas.errors import DecodeError, InvalidEvent
from auditlog_schemas.own_actions import require_signed
from auditlog_schemas.record import Record
from auditlog_schemas.rules import require_limits, require_not_ahead
from auditlog_schemas.schema_ids import Answer, Answers
from auditlog_schemas.validate import BatchValidator
from auditlog_schemas.verdicts import GOOD, SIGNATURE_VERDICT, VERDICTS, Verdict

LETTERS_OF_A_BATCH_MAX: Final = 10_000
"""A batch that is passed over has a letter for each offset; beyond so many they stand for several each."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A message that breaks a rule, and which; `received_millis` is the broker's time since 1970.

    `offsets` is more than 1 for messages that could not be told apart: they follow each other from `offset`.
    """

    offset: int
    received_millis: int
    key: bytes | None
    value: bytes | None
    error: InvalidEvent
    offsets: int = 1

    @property
    def last_offset(self) -> int:
        """Return the last offset that it stands for."""
        return self.offset + self.offsets - 1

    @property
    def span(self) -> range:
        """Return the offsets that it stands for."""
        return range(self.offset, self.offset + self.offsets)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A judged batch: what became of every offset from `first_offset` to `last_offset`.

    `rows` are the accepted messages in offset order, as `EVENT_ROWS`; `absent` counts offsets that hold no
    message. Of the messages only the rejected ones are kept.
    """

    partition: Partition
    first_offset: int
    last_offset: int
    absent: int
    rows: pa.RecordBatch
    rejected: tuple[Rejection, ...]

    def __str__(self) -> str:
        return f"{self.partition} {self.first_offset}-{self.last_offset}"

    @property
    def where(self) -> dict[str, object]:
        """Return partition and range, for log lines."""
        at = {"partition": str(self.partition)}
        return {**at, "first_offset": self.first_offset, "last_offset": self.last_offset}


@dataclass(frozen=True, slots=True)
class Judged:
    """What can be judged of a batch while nobody waits for the registry.

    Attributes:
        verdicts: of the messages before the first one whose schema id has no answer; None when it is the
            first of all.
        rest: a batch of the messages from that one on; None when all are judged.
        unanswered: schema ids whose answers the rest needs next, as in `DecodedPart`.
    """

    verdicts: Verdicts | None
    rest: Batch | None = None
    unanswered: tuple[int, ...] = ()


class Judge:
    """Decodes messages and checks them against the limits and the catalog.

    Attributes:
        catalog: of the actions.
        schemas: of the writers.
        own_key: with which the audit log signs its own events. None: signatures are not looked at, for who
            stores nothing.
    """

    def __init__(self, schemas: WriterSchemas, catalog: Catalog, own_key: bytes | None = None) -> None:
        self.catalog = catalog
        self.schemas = schemas
        self.own_key = own_key
        self._batches = EventDecoder(schemas)
        self._validator = BatchValidator(catalog)
        self._messages = MessageDecoder(schemas)

    def judge(self, batch: Batch) -> Verdicts:
        """Return the verdicts of a batch; only a message's own content rejects it.

        For a caller that has nothing else to do: the registry is asked for one schema id after the other.

        Raises:
            RegistryUnavailable: a schema id has to be looked up and the registry is away.
        """
        answers: dict[int, Answer] = {}
        return self._verdicts(batch, self._batches.decode(batch.messages.values, answers), answers)

    def judge_part(self, batch: Batch, answers: Answers) -> Judged:
        """Judge as much of a batch as can be judged now. Asks nobody.

        Args:
            batch: whose messages before the first unanswered one are judged.
            answers: what its schema ids stand for, where that was asked for it. They come before what is
                known otherwise, so the rest of a batch cannot wait for the same id again.
        """
        used = dict(answers)
        part = self._batches.decode_part(batch.messages.values, used)
        if not part.unanswered:
            return Judged(self._verdicts(batch, part.decoded, used))
        count = len(part.decoded.verdict)
        if not count:
            return Judged(None, batch, part.unanswered)
        judged, rest = batch.cut(count)
        return Judged(self._verdicts(judged, part.decoded, used), rest, part.unanswered)

    def _verdicts(self, batch: Batch, decoded: Decoded, answers: Answers) -> Verdicts:
        messages = batch.messages
        received = messages.received_millis
        good, events = decoded.good, decoded.batch
        broken = self._validator.validate(events, received[good] * 1000)
        self._require_signatures(events, good, messages, answers, broken)
        if broken.any():
            events, good = events.filter(pa.array(broken == GOOD)), good[broken == GOOD]
        verdict = decoded.verdict.copy()
        verdict[decoded.good] = broken
        shown = without_signatures(events, own_rows(events))
        return Verdicts(
            partition=batch.partition,
            first_offset=batch.first_offset,
            last_offset=batch.last_offset,
            absent=batch.absent,
            rows=to_rows(batch.partition, shown, messages.offsets[good], received[good]),
            rejected=tuple(self._rejections(messages, verdict, answers)),
        )

    def _require_signatures(
        self,
        events: pa.RecordBatch,
        good: npt.NDArray[np.int64],
        messages: Messages,
        answers: Answers,
        broken: npt.NDArray[np.int16],
    ) -> None:
        """Give own actions without a right signature their verdict, in `broken`; they are few."""
        if self.own_key is None:
            return
        for row in own_rows(events).tolist():
            if broken[row] != GOOD:
                continue
            try:
                value = messages.values[int(good[row])]
                require_signed(self._messages.decode(value, answers.__getitem__), self.own_key)
            except InvalidEvent:
                broken[row] = SIGNATURE_VERDICT

    def read(
        self, value: bytes | None, received_millis: int, answer: Callable[[int], Answer] | None = None
    ) -> Record:
        """Return one message's valid record.

        Args:
            value: of the message.
            received_millis: the broker's time since 1970.
            answer: as in `WriterSchemas.split`.

        Raises:
            InvalidEvent: the first rule that the message breaks: decoding, limits, catalog, clock, signature.
            RegistryUnavailable: as in `judge`.
        """
        record = self._messages.decode(value, answer)
        require_limits(record)
        self.catalog.check(record)
        require_not_ahead(record["occurred_at"], received_millis * 1000)
        if self.own_key is not None:
            require_signed(record, self.own_key)
        return record

    def _rejections(
        self, messages: Messages, verdict: npt.NDArray[np.int16], answers: Answers
    ) -> Iterator[Rejection]:
        passed = {each.last_offset: each for each in messages.passed}
        for index in np.flatnonzero(verdict).tolist():
            if passed and (over := passed.get(int(messages.offsets[index]))) is not None:
                yield from passed_over(over)
            else:
                yield self._reject(messages, index, VERDICTS[verdict[index]], answers)

    def _reject(self, messages: Messages, index: int, verdict: Verdict, answers: Answers) -> Rejection:
        """Return the rejection with the detail, which only reading the message by itself tells."""
        value, received_millis = messages.values[index], int(messages.received_millis[index])
        detail = "rejected in its batch; reading it by itself comes to another verdict, please report this"
        found = InvalidEvent(verdict.rule, verdict.field, detail)
        try:
            self.read(value, received_millis, answers.__getitem__)
        except InvalidEvent as error:
            if error.rule == verdict.rule:
                # Without its traceback, whose frames would keep the whole batch in memory.
                found = type(error)(error.rule, error.field, error.detail)
        return Rejection(int(messages.offsets[index]), received_millis, messages.keys[index], value, found)


def passed_over(batch: PassedOver) -> Iterator[Rejection]:
    """Yield the rejections of a batch that was passed over; the first one holds the bytes of the batch."""
    size = -(-batch.offsets // LETTERS_OF_A_BATCH_MAX)
    error = DecodeError(batch.rule, "", batch.detail)
    value: bytes | None = batch.raw
    for first in range(batch.first_offset, batch.last_offset + 1, size):
        count = min(size, batch.last_offset + 1 - first)
        yield Rejection(first, batch.received_millis, None, value, error, count)
        if value is not None:
            detail = f"{batch.detail}; the bytes are in the letter of offset {first}"
            error, value = DecodeError(batch.rule, "", detail), None

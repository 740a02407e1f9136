"""Judging a batch: every message is accepted as a row or rejected with its rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from auditlog_consumer.batch import Batch
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition
from auditlog_consumer.rows import to_rows
from auditlog_schemas.catalog import Catalog
from auditlog_schemas.codec import MessageDecoder, WriterSchemas
from auditlog_schemas.columnar_events import EventDecoder
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.record import Record
from auditlog_schemas.rules import require_limits, require_not_ahead
from auditlog_schemas.validate import BatchValidator
from auditlog_schemas.verdicts import GOOD, VERDICTS, Verdict


@dataclass(frozen=True, slots=True)
class Rejection:
    """A message that breaks a rule, and which; `received_millis` is the broker's time since 1970."""

    offset: int
    received_millis: int
    key: bytes | None
    value: bytes | None
    error: InvalidEvent


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


class Judge:
    """Decodes messages and checks them against the limits and the catalog. Does no I/O of its own."""

    def __init__(self, schemas: WriterSchemas, catalog: Catalog) -> None:
        self.catalog = catalog
        self._batches = EventDecoder(schemas)
        self._validator = BatchValidator(catalog)
        self._messages = MessageDecoder(schemas)

    def judge(self, batch: Batch) -> Verdicts:
        """Return the verdicts of a batch; only a message's own content rejects it.

        Raises:
            RegistryUnavailable: a schema id has to be looked up and the registry is away.
        """
        messages = batch.messages
        received = messages.received_millis
        decoded = self._batches.decode(messages.values)
        good, events = decoded.good, decoded.batch
        broken = self._validator.validate(events, received[good] * 1000)
        if broken.any():
            events, good = events.filter(pa.array(broken == GOOD)), good[broken == GOOD]
        verdict = decoded.verdict.copy()
        verdict[decoded.good] = broken
        return Verdicts(
            partition=batch.partition,
            first_offset=batch.first_offset,
            last_offset=batch.last_offset,
            absent=batch.absent,
            rows=to_rows(batch.partition, events, messages.offsets[good], received[good]),
            rejected=tuple(
                self._reject(messages, index, VERDICTS[verdict[index]])
                for index in np.flatnonzero(verdict).tolist()
            ),
        )

    def read(self, value: bytes | None, received_millis: int) -> Record:
        """Return one message's valid record.

        Raises:
            InvalidEvent: the first rule that the message breaks: decoding, limits, catalog, clock.
            RegistryUnavailable: as in `judge`.
        """
        record = self._messages.decode(value)
        require_limits(record)
        self.catalog.check(record)
        require_not_ahead(record["occurred_at"], received_millis * 1000)
        return record

    def _reject(self, messages: Messages, index: int, verdict: Verdict) -> Rejection:
        """Return the rejection with the detail, which only reading the message by itself tells."""
        value, received_millis = messages.values[index], int(messages.received_millis[index])
        detail = "rejected in its batch; reading it by itself comes to another verdict, please report this"
        found = InvalidEvent(verdict.rule, verdict.field, detail)
        try:
            self.read(value, received_millis)
        except InvalidEvent as error:
            if error.rule == verdict.rule:
                found = error
        return Rejection(int(messages.offsets[index]), received_millis, messages.keys[index], value, found)

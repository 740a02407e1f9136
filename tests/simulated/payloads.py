"""The messages that simulations publish: made once, since making and judging them is what costs most."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import numpy as np
import pyarrow as pa

from auditlog_consumer.account_bucket import account_bucket
from auditlog_consumer.batch import Batch
from auditlog_consumer.judge import Judge, Judged, Rejection, Verdicts, passed_over
from auditlog_schemas.catalog import Catalog
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import WriterSchemas, encode
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.event import Entity
from auditlog_schemas.schema_ids import Answers
from auditlog_storage.tables import EVENT_ROWS
from kit.events import make_record

GOOD_COUNT: Final = 150
NEW_COUNT: Final = 12
OCCURRED_AT_MICROS: Final = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp()) * 1_000_000
RECEIVED_MILLIS: Final = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp()) * 1_000

Kind = Literal["good", "bad", "new", "passed"]
PASSED_BYTES: Final = b"a batch that cannot be taken apart"
"""A new one is accepted under the longer catalog only."""

_ACTIONS: Final = (
    ("license_deleted", "license"),
    ("order_deleted", "order"),
    ("customer_deleted", "customer"),
)
_LONGER: Final = """
[actions.license_eaten]
group = "License"
entity_type = "license"
kind = "deleted"
sentence = "{actor} ate license {entity}"
"""
KEPT: Final = (
    "account_bucket",
    "account_id",
    "event_id",
    "entity_type",
    "topic_id",
    "kafka_partition",
    "kafka_offset",
)
"""The columns of a row that anything after the judge looks at."""


class Payload(NamedTuple):
    """One message body and what is in it; a bad one has neither account nor event."""

    kind: Kind
    value: bytes | None
    account_id: str
    event_id: bytes
    entity_type: str


PASSED: Final = Payload("passed", PASSED_BYTES, "", b"", "")
"""What a batch that cannot be taken apart holds: of all its offsets only the first letter has the bytes."""


@cache
def payloads(kind: Kind) -> tuple[Payload, ...]:
    """Return the messages of a kind, each with an event id of its own."""
    if kind == "good":
        return tuple(_valid(number, *_ACTIONS[number % 3], kind) for number in range(GOOD_COUNT))
    if kind == "new":
        return tuple(_valid(number + 1_000, "license_eaten", "license", kind) for number in range(NEW_COUNT))
    good = payloads("good")[0].value
    assert good is not None
    bodies = (None, b"", b"not avro at all", good[:-1], good + b"\x00", good[:2] + bytes(8) + good[10:])
    return tuple(Payload("bad", body, "", b"", "") for body in bodies)


@cache
def catalog(longer: bool) -> Catalog:
    """Return the built-in catalog, or one with an action more."""
    if not longer:
        return load_catalog()
    with TemporaryDirectory() as directory:
        path = Path(directory) / "longer.toml"
        path.write_text(_LONGER)
        return load_catalog((path,))


@cache
def judge(longer: bool) -> Judge:
    """Return the real judge under one of the catalogs."""
    return Judge(WriterSchemas([], None), catalog(longer))


class QuickJudge(Judge):
    """Judges the messages of this module as the real judge does, from a table of what that one said.

    Its rows have the columns of `KEPT` only. `test_payloads` holds it against the real one, which also runs
    in some of the seeds.
    """

    def __init__(self, longer: bool) -> None:
        self.catalog = catalog(longer)
        self.schemas = judge(longer).schemas
        self._known = _known(longer)

    def judge(self, batch: Batch) -> Verdicts:
        """Return the verdicts of a batch."""
        messages, rows, rejected = batch.messages, [], list[Rejection]()
        passed = {each.last_offset: each for each in messages.passed}
        for place, value in enumerate(messages.values):
            found, offset = self._known[value], int(messages.offsets[place])
            if offset in passed:
                rejected += passed_over(passed[offset])
            elif isinstance(found, InvalidEvent):
                millis = int(messages.received_millis[place])
                rejected.append(Rejection(offset, millis, messages.keys[place], value, found))
            else:
                rows.append((offset, found))
        return Verdicts(
            partition=batch.partition,
            first_offset=batch.first_offset,
            last_offset=batch.last_offset,
            absent=batch.absent,
            rows=_rows(batch, rows),
            rejected=tuple(rejected),
        )

    def judge_part(self, batch: Batch, answers: Answers) -> Judged:  # noqa: ARG002 - as the real one
        """Return the verdicts of the whole batch: its messages name no schema ids."""
        return Judged(self.judge(batch))


def _rows(batch: Batch, rows: list[tuple[int, Payload]]) -> pa.RecordBatch:
    count = len(rows)
    columns: list[Any] = [
        pa.array([account_bucket(payload.account_id) for _, payload in rows], pa.uint8()),
        pa.array([payload.account_id for _, payload in rows], pa.string()),
        pa.array([payload.event_id for _, payload in rows], pa.binary(16)),
        pa.array([payload.entity_type for _, payload in rows], pa.string()),
        pa.array([batch.partition.topic_id.bytes] * count, pa.binary(16)),
        pa.array(np.full(count, batch.partition.number, np.int32)),
        pa.array([offset for offset, _ in rows], pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema([EVENT_ROWS.field(name) for name in KEPT]))


@cache
def _known(longer: bool) -> dict[bytes | None, Payload | InvalidEvent]:
    known: dict[bytes | None, Payload | InvalidEvent] = {}
    kinds: tuple[Kind, ...] = ("good", "bad", "new")
    for payload in (payload for kind in kinds for payload in payloads(kind)):
        try:
            judge(longer).read(payload.value, RECEIVED_MILLIS)
            known[payload.value] = payload
        except InvalidEvent as error:
            known[payload.value] = error
    return known


def _valid(number: int, action: str, entity_type: str, kind: Kind) -> Payload:
    account, event_id = f"acc_{number % 4}", UUID(int=(7 << 76) | (2 << 62) | (number + 1))
    record = make_record(
        event_id=str(event_id),
        account_id=account,
        occurred_at=OCCURRED_AT_MICROS + number,
        action=action,
        entity=Entity(type=entity_type, id=f"{entity_type}_{number}").model_dump(),
    )
    return Payload(kind, encode(record), account, event_id.bytes, entity_type)

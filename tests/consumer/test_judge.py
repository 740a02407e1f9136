"""Judging: every kind of bad message is rejected alone, with its own rule; its neighbours become rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID

import pytest

from auditlog_consumer.batch import Batch
from auditlog_consumer.dead_letters import letter_key, letters_of
from auditlog_consumer.judge import Judge
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import WriterSchemas, encode
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.record import micros_of
from auditlog_storage.tables import EVENT_ROWS
from kit.bad_messages import BadMessage, bad_messages
from kit.events import make_event
from kit.row_oracle import Accepted, rows_of

PARTITION = Partition("audit.events", UUID(int=7), 3)


@dataclass(frozen=True)
class Received:
    at: int
    body: bytes | None
    millis: int

    def value(self) -> bytes | None:
        return self.body

    def key(self) -> bytes | None:
        return b"acc_1"

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return (2, self.millis)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(WriterSchemas(), load_catalog())


def batch_of(values: list[bytes | None]) -> Batch:
    now = int(time.time() * 1000)
    messages = [Received(100 + i, value, now) for i, value in enumerate(values)]
    return Batch(PARTITION, 100, 99 + len(values), Messages.of(messages))


@pytest.mark.parametrize("bad", bad_messages(), ids=lambda bad: bad.name)
def test_a_bad_message_is_rejected_between_good_neighbours(judge: Judge, bad: BadMessage) -> None:
    good = encode(make_event().to_record())
    verdicts = judge.judge(batch_of([good, bad.value, good]))
    [rejection] = verdicts.rejected
    assert rejection.error.rule == bad.rule
    assert rejection.offset == 101
    assert verdicts.rows.column("kafka_offset").to_pylist() == [100, 102]
    [message] = letters_of(PARTITION, rejection, "abc")
    letter = dict(message.headers or [])
    assert letter["reason"] == bad.reason.encode()
    assert letter["rule"] == bad.rule.encode()
    assert letter["source_key"] == b"acc_1"
    assert letter_key(PARTITION, rejection) == f"{UUID(int=7)}/3/101"


def test_all_bad_messages_at_once(judge: Judge) -> None:
    bad = bad_messages()
    verdicts = judge.judge(batch_of([b.value for b in bad]))
    assert [r.error.rule for r in verdicts.rejected] == [b.rule for b in bad]
    assert verdicts.rows.num_rows == 0
    assert verdicts.rows.schema.names == EVENT_ROWS.names


def test_a_detail_never_breaks_a_line(judge: Judge) -> None:
    verdicts = judge.judge(batch_of([b.value for b in bad_messages()]))
    for rejection in verdicts.rejected:
        assert "\n" not in rejection.error.detail
        assert "\r" not in rejection.error.detail
        assert "\0" not in rejection.error.detail


def test_a_row_is_the_event_and_its_place(judge: Judge) -> None:
    event = make_event()
    batch = batch_of([encode(event.to_record())])
    [row] = judge.judge(batch).rows.to_pylist()
    assert row["event_id"] == event.event_id.bytes
    assert row["occurred_at"] == event.occurred_at
    assert micros_of(row["occurred_at"]) == micros_of(event.occurred_at)
    assert row["entity_name"] == "Pro seat"
    assert row["related"] == [{"type": "order", "id": "ord_1", "name": None}]
    assert row["changes"] == [{"field": "valid_until", "before": '"2026-01-01"', "after": '"2027-01-01"'}]
    assert row["metadata"] == [("source", "web")]
    assert (row["topic_id"], row["kafka_partition"], row["kafka_offset"]) == (UUID(int=7).bytes, 3, 100)


def test_judging_twice_gives_the_same_rows(judge: Judge) -> None:
    batch = batch_of([encode(make_event().to_record()) for _ in range(20)])
    assert judge.judge(batch).rows.equals(judge.judge(batch).rows)


def test_rows_made_by_columns_are_the_rows_made_one_by_one(judge: Judge) -> None:
    bad = [message.value for message in bad_messages()]
    good = [encode(make_event(account_id=f"acc_{i % 7}").to_record()) for i in range(60)]
    mixed = [value for pair in zip(bad, good, strict=False) for value in pair]
    batch = batch_of(mixed)
    accepted = []
    messages = batch.messages
    for value, offset, millis in zip(
        messages.values, messages.offsets, messages.received_millis, strict=True
    ):
        try:
            record = judge.read(value, int(millis))
        except InvalidEvent:
            continue
        accepted.append(Accepted(record, int(offset), int(millis)))
    expected = rows_of(PARTITION, accepted)
    found = judge.judge(batch).rows
    assert found.cast(EVENT_ROWS).equals(expected.cast(EVENT_ROWS))


def test_every_rejection_carries_the_detail_of_its_own_rule(judge: Judge) -> None:
    verdicts = judge.judge(batch_of([message.value for message in bad_messages()]))
    assert not [r.error for r in verdicts.rejected if "please report" in r.error.detail]

"""Judging what can be judged while schema ids have no answer: nobody is asked, and nothing gets lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest

from auditlog_consumer.batch import Batch
from auditlog_consumer.judge import Judge, Judged, Verdicts
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition
from auditlog_local.ports import free_ports
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import EVENT_SCHEMA, WriterSchemas, encode
from auditlog_schemas.registry import SchemaRegistry
from auditlog_schemas.resolution import resolve
from auditlog_schemas.schema_ids import UNKNOWN, Answer, Unusable
from auditlog_schemas.schema_lookups import LOOKUPS_AT_ONCE, SchemaLookups
from kit.bad_messages import bad_messages
from kit.event_trial import Lookup, event_framings
from kit.events import make_event
from kit.registry_front import UNKNOWN_FROM, RegistryFront

CATALOG = load_catalog()
PLAN = resolve(EVENT_SCHEMA)
GOOD = encode(make_event().to_record())
SCHEMA_7 = encode(make_event().to_record(), 7)


def batch_of(values: list[bytes | None], offsets: list[int] | None = None, number: int = 3) -> Batch:
    at = np.array(offsets or range(100, 100 + len(values)), np.int64)
    millis = np.full(len(values), int(time.time() * 1000))
    messages = Messages.by_column(values, [b"acc_1"] * len(values), at, millis)
    return Batch(Partition("audit.events", UUID(int=7), number), 100, int(at[-1]), messages)


@pytest.fixture
def alone() -> Iterator[Judge]:
    """A judge whose registry nobody can ask: nothing listens there."""
    (port,) = free_ports(1)
    silent = SchemaRegistry(f"http://127.0.0.1:{port}", timeout_seconds=1)
    yield Judge(WriterSchemas(lookup=silent), CATALOG)
    silent.close()


def in_parts(
    judge: Judge, batch: Batch, answers_to: Callable[[tuple[int, ...]], dict[int, Answer]]
) -> list[Verdicts]:
    """Judge a batch until nothing is left of it."""
    rest: Batch | None = batch
    answers: dict[int, Answer] = {}
    found: list[Verdicts] = []
    while rest is not None:
        judged: Judged = judge.judge_part(rest, answers)
        found += [judged.verdicts] if judged.verdicts else []
        rest, answers = judged.rest, answers_to(judged.unanswered)
    return found


def test_messages_before_the_first_one_that_waits_are_judged(alone: Judge) -> None:
    batch = batch_of([GOOD, b"", SCHEMA_7, GOOD, None], [101, 103, 106, 107, 110])
    judged = alone.judge_part(batch, {})
    verdicts, rest = judged.verdicts, judged.rest
    assert verdicts is not None
    assert rest is not None
    assert judged.unanswered == (7,)
    assert (verdicts.first_offset, verdicts.last_offset, verdicts.absent) == (100, 105, 4)
    assert verdicts.rows["kafka_offset"].to_pylist() == [101]
    assert [each.offset for each in verdicts.rejected] == [103]
    assert (rest.first_offset, rest.last_offset, rest.absent) == (106, 110, 2)
    assert rest.messages.values == [SCHEMA_7, GOOD, None]
    assert verdicts.absent + rest.absent == batch.absent


def test_when_the_first_message_waits_all_of_the_batch_does(alone: Judge) -> None:
    batch = batch_of([SCHEMA_7, GOOD], [104, 105])
    assert alone.judge_part(batch, {}) == Judged(None, batch, (7,))


def test_a_batch_that_waits_for_nothing_is_judged_in_full(alone: Judge) -> None:
    batch = batch_of([GOOD, *(bad.value for bad in bad_messages() if not _names_an_id(bad.value))])
    judged, whole = alone.judge_part(batch, {}), alone.judge(batch)
    assert (judged.rest, judged.unanswered) == (None, ())
    assert judged.verdicts is not None
    assert judged.verdicts.rows.equals(whole.rows)
    assert [_said(each) for each in judged.verdicts.rejected] == [_said(each) for each in whole.rejected]


def _names_an_id(value: bytes | None) -> bool:
    return value is not None and value.startswith(b"\0") and 5 <= len(value) < 1000


def test_a_rejection_tells_what_the_answers_say_and_nobody_is_asked(alone: Judge) -> None:
    answers: dict[int, Answer] = {7: PLAN, 8: UNKNOWN, 9: Unusable("schema_incompatible", "it is a string")}
    batch = batch_of([SCHEMA_7, b"\0\0\0\0\x08x", b"\0\0\0\0\x09x", b"\0\0\0\0\x07", SCHEMA_7])
    verdicts = alone.judge_part(batch, answers).verdicts
    assert verdicts is not None
    assert verdicts.rows["kafka_offset"].to_pylist() == [100, 104]
    assert [(each.error.rule, each.error.detail) for each in verdicts.rejected[:2]] == [
        ("unknown_schema_id", "schema id 8: the registry knows no schema with this id"),
        ("schema_incompatible", "schema id 9: it is a string"),
    ]
    assert verdicts.rejected[2].error.rule == "truncated"
    assert "please report" not in verdicts.rejected[2].error.detail


@pytest.mark.parametrize("seed", range(20))
def test_the_parts_together_are_what_the_whole_is(seed: int, alone: Judge) -> None:
    random = Random(seed)
    kinds: list[bytes | None] = [
        *event_framings(seed),
        *(bad.value for bad in bad_messages()),
        *(b"\0" + random.randbytes(4) + b"body" for _ in range(5)),
        b"\0\0\0\0\x09x",
    ]
    batch = batch_of(random.choices(kinds, k=60), sorted(random.sample(range(100, 300), 60)))
    whole = Judge(WriterSchemas(lookup=Lookup()), CATALOG).judge(batch)
    schemas = WriterSchemas(lookup=Lookup())
    parts = in_parts(alone, batch, lambda ids: {each: schemas.by_id.ask(each) for each in ids[:2]})
    assert len(parts) > 1
    assert [part.first_offset for part in parts] == [100, *(part.last_offset + 1 for part in parts[:-1])]
    assert parts[-1].last_offset == batch.last_offset
    assert sum(part.absent for part in parts) == whole.absent
    rows = pa.Table.from_batches([part.rows for part in parts]).combine_chunks().to_batches()
    assert rows == [whole.rows] or (not rows and not whole.rows.num_rows)
    assert [_said(each) for part in parts for each in part.rejected] == [
        _said(each) for each in whole.rejected
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_batch_that_must_not_be_cut_is_judged_once_enough_answers_are_gathered(
    seed: int, alone: Judge
) -> None:
    random = Random(seed)
    values: list[bytes | None] = [GOOD, SCHEMA_7, *(b"\0\0" + random.randbytes(3) for _ in range(2_500))]
    random.shuffle(values)
    batch, answers = batch_of(values), dict[int, Answer]()
    schemas = WriterSchemas(lookup=Lookup())
    rounds = 1
    while (judged := alone.judge_part(batch, answers)).rest is not None:
        answers = {schema_id: schemas.by_id.ask(schema_id) for schema_id in judged.unanswered} | answers
        rounds += 1
    assert rounds == 4
    assert judged.verdicts is not None
    assert (judged.verdicts.first_offset, judged.verdicts.last_offset) == (100, batch.last_offset)
    assert judged.verdicts.rows.num_rows == 2
    assert len(judged.verdicts.rejected) == 2_500


def _said(rejection: Any) -> tuple[int, str, str, str]:
    return rejection.offset, rejection.error.rule, rejection.error.field, rejection.error.detail


@pytest.mark.integration
@pytest.mark.long
def test_five_thousand_ids_in_one_partition_hold_up_no_other_one(registry_front: RegistryFront) -> None:
    """Nine-byte messages with an id each, at 7 ms a lookup, as the consumer takes them."""
    registry_front.latency_seconds = 0.007
    registry = SchemaRegistry(registry_front.url)
    judge = Judge(WriterSchemas(lookup=registry), CATALOG)
    trouble: list[float] = []
    lookups = SchemaLookups(judge.schemas.by_id, lambda _, seconds: trouble.append(seconds))
    garbage = [
        b"\0" + schema_id.to_bytes(4, "big") + b"body"
        for schema_id in range(UNKNOWN_FROM, UNKNOWN_FROM + 5_000)
    ]
    other = batch_of([GOOD] * 10_000, number=4)
    longest = 0.0

    def answers_to(ids: tuple[int, ...]) -> dict[int, Answer]:
        nonlocal longest
        waiting = lookups.ask(ids)
        while not waiting.done():
            began = time.monotonic()
            assert judge.judge_part(other, {}).verdicts is not None
            longest = max(longest, time.monotonic() - began)
        return waiting.result()

    began = time.monotonic()
    parts = in_parts(judge, batch_of([GOOD, *garbage]), answers_to)
    assert time.monotonic() - began < 60
    assert longest < 1
    assert [each.error.rule for part in parts for each in part.rejected] == ["unknown_schema_id"] * 5_000
    assert [len(part.rejected) for part in parts] == [0, *[1_000] * 5]
    assert parts[0].rows.num_rows == 1
    assert set(registry_front.asked.values()) == {1}
    assert registry_front.together <= LOOKUPS_AT_ONCE
    assert trouble == []
    lookups.close()
    registry.close()

"""Batches as Kafka gives them: mixed framings and schemas, every bad message, and the order of the rows."""

from __future__ import annotations

from random import Random
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog_schemas.codec import EVENT_SCHEMA, WriterSchemas, encode
from auditlog_schemas.columnar import CHUNK_MESSAGES
from auditlog_schemas.columnar_events import LOOKUPS_AT_ONCE, EventDecoder
from auditlog_schemas.errors import RegistryUnavailable
from auditlog_schemas.limits import MESSAGE_BYTES_MAX
from auditlog_schemas.verdicts import DECODE_VERDICTS
from kit.arrow_values import values_of
from kit.bad_messages import bad_messages
from kit.event_strategies import EVENTS, full_record
from kit.event_trial import EVENT_PLAN, event_framings, event_trial, known_schemas, require_equal_events

DECODER = EventDecoder(known_schemas())


@settings(max_examples=30)
@given(st.lists(st.tuples(EVENTS, st.booleans()), max_size=5))
def test_any_events_round_trip(events: list[Any]) -> None:
    messages = [encode(event.to_record(), 7 if confluent else None) for event, confluent in events]
    found = DECODER.decode(messages)
    assert values_of(EVENT_PLAN, found.values) == [event.to_record() for event, _ in events]


def test_every_kind_of_bad_message_between_good_ones() -> None:
    messages: list[bytes | None] = [*event_framings(0)]
    for number, bad in enumerate(bad_messages()):
        messages += [bad.value, event_framings(number)[number % 4]]
    messages += [b"\xc3", b"\xc3\x01", b"\0", b"\0\0\0\0", b"\0\0\0\0\x09x", b"\0\0\0\0\x07", b"\xff"]
    require_equal_events(messages)


@pytest.mark.parametrize(
    "messages",
    [[], [None], [b""], [None, b"", b"\xc3"], [b"x" * (MESSAGE_BYTES_MAX + 1)], [b"\0\0\0\0\x63"] * 3],
)
def test_a_batch_without_a_good_message(messages: list[bytes | None]) -> None:
    require_equal_events(messages)


def test_rows_keep_the_order_of_mixed_messages_over_several_chunks() -> None:
    kinds = [event_framings(number) for number in range(8)]
    order = Random(1).choices(range(32), k=CHUNK_MESSAGES + 500)
    messages = [kinds[i // 4][i % 4] for i in order]
    found = DECODER.decode(messages)
    assert found.batch["account_id"].to_pylist() == [f"acc_{i // 4}" for i in order]
    assert found.good.tolist() == list(range(len(messages)))
    chunks = list(DECODER.decode_chunks(messages))
    assert [first for first, _ in chunks] == [0, len(chunks[0][1].verdict)]
    assert sum(chunk.batch.num_rows for _, chunk in chunks) == len(messages)


@pytest.mark.parametrize("first_seed", range(0, 200, 50))
def test_random_batches_get_the_verdicts_of_the_one_by_one_path(first_seed: int) -> None:
    """Seeds of `scripts/bench fuzz_decode`, which goes through many more; see `kit.event_trial`."""
    for seed in range(first_seed, first_seed + 50):
        event_trial(seed)


def test_a_registry_that_is_away_stops_the_batch() -> None:
    class Away:
        def schema_by_id(self, schema_id: int) -> Any:
            raise RegistryUnavailable(f"no answer about {schema_id}")

    decoder = EventDecoder(WriterSchemas(lookup=Away()))
    with pytest.raises(RegistryUnavailable):
        decoder.decode([encode(full_record()), encode(full_record(), 7)])
    assert decoder.decode([encode(full_record())]).good.tolist() == [0]


def test_each_header_of_a_chunk_is_asked_for_once() -> None:
    asked: list[int] = []

    class Counting:
        def schema_by_id(self, schema_id: int) -> Any:
            asked.append(schema_id)

    EventDecoder(WriterSchemas(lookup=Counting())).decode([b"\0\0\0\0\x05x"] * 100 + [b"\0\0\0\0\x06x"])
    assert asked == [5, 6]


def test_many_schema_ids_are_asked_at_once_and_every_message_gets_its_own_verdict() -> None:
    together = Barrier(LOOKUPS_AT_ONCE)

    class Slow:
        def schema_by_id(self, schema_id: int) -> Any:
            together.wait(5)
            return EVENT_SCHEMA if schema_id % 10 == 7 else None

    ids = Random(3).sample(range(10_000), 40 * LOOKUPS_AT_ONCE)
    found = EventDecoder(WriterSchemas(lookup=Slow())).decode([encode(full_record(), id) for id in ids])
    assert found.good.tolist() == [index for index, id in enumerate(ids) if id % 10 == 7]
    rejected = found.verdict[found.verdict != 0]
    assert set(rejected.tolist()) == {DECODE_VERDICTS["unknown_schema_id"]}


def test_a_registry_that_is_away_is_not_asked_for_every_id() -> None:
    asked: list[int] = []

    class Away:
        def schema_by_id(self, schema_id: int) -> Any:
            asked.append(schema_id)
            raise RegistryUnavailable(f"no answer about {schema_id}")

    with pytest.raises(RegistryUnavailable):
        EventDecoder(WriterSchemas(lookup=Away())).decode([encode(full_record(), id) for id in range(1000)])
    assert len(asked) <= LOOKUPS_AT_ONCE

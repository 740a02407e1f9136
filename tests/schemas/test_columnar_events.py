"""Batches as Kafka gives them: mixed framings and schemas, every bad message, and the order of the rows."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog_schemas.codec import EVENT_SCHEMA, MessageDecoder, WriterSchemas, encode, schema_fingerprint
from auditlog_schemas.columnar import CHUNK_MESSAGES
from auditlog_schemas.columnar_events import EventDecoder
from auditlog_schemas.errors import InvalidEvent, RegistryUnavailable
from auditlog_schemas.limits import MESSAGE_BYTES_MAX
from auditlog_schemas.resolution import resolve
from auditlog_schemas.verdicts import VERDICTS
from kit.arrow_values import comparable, values_of
from kit.bad_messages import bad_messages
from kit.event_strategies import EVENTS, full_record
from kit.random_avro import mutated

PLAN = resolve(EVENT_SCHEMA)
OLDER = EVENT_SCHEMA | {"fields": [f for f in EVENT_SCHEMA["fields"] if f["name"] != "metadata"]}


class Lookup:
    def schema_by_id(self, schema_id: int) -> Any:
        return {7: EVENT_SCHEMA, 8: OLDER, 9: "string"}.get(schema_id)


def schemas() -> WriterSchemas:
    return WriterSchemas(extra=[OLDER], lookup=Lookup())


def framings(number: int) -> list[bytes]:
    """One event in every framing and schema that is known."""
    new = full_record() | {"account_id": f"acc_{number}"}
    old = encode(new | {"metadata": {}})[10:-1]
    return [
        encode(new),
        encode(new, schema_id=7),
        b"\0\0\0\0\x08" + old,
        b"\xc3\x01" + schema_fingerprint(OLDER) + old,
    ]


def require_equal_to_one_by_one(messages: list[bytes | None]) -> None:
    decoder = MessageDecoder(schemas())
    rules, records = [], []
    for message in messages:
        try:
            records.append(comparable(decoder.decode(message)))
            rules.append("")
        except InvalidEvent as error:
            rules.append(error.rule)
    found = EventDecoder(schemas()).decode(messages)
    assert [VERDICTS[verdict].rule for verdict in found.verdict] == rules
    assert values_of(PLAN, found.values) == records
    assert found.batch.num_rows == len(records)


@given(st.lists(st.tuples(EVENTS, st.booleans()), max_size=5))
def test_any_events_round_trip(events: list[Any]) -> None:
    messages = [encode(event.to_record(), 7 if confluent else None) for event, confluent in events]
    found = EventDecoder(schemas()).decode(messages)
    assert values_of(PLAN, found.values) == [event.to_record() for event, _ in events]


def test_every_kind_of_bad_message_between_good_ones() -> None:
    messages: list[bytes | None] = [*framings(0)]
    for number, bad in enumerate(bad_messages()):
        messages += [bad.value, framings(number)[number % 4]]
    messages += [b"\xc3", b"\xc3\x01", b"\0", b"\0\0\0\0", b"\0\0\0\0\x09x", b"\0\0\0\0\x07", b"\xff"]
    require_equal_to_one_by_one(messages)


@pytest.mark.parametrize(
    "messages",
    [[], [None], [b""], [None, b"", b"\xc3"], [b"x" * (MESSAGE_BYTES_MAX + 1)], [b"\0\0\0\0\x63"] * 3],
)
def test_a_batch_without_a_good_message(messages: list[bytes | None]) -> None:
    require_equal_to_one_by_one(messages)


def test_rows_keep_the_order_of_mixed_messages_over_several_chunks() -> None:
    kinds = [framings(number) for number in range(8)]
    order = Random(1).choices(range(32), k=CHUNK_MESSAGES + 500)
    messages = [kinds[i // 4][i % 4] for i in order]
    found = EventDecoder(schemas()).decode(messages)
    assert found.batch["account_id"].to_pylist() == [f"acc_{i // 4}" for i in order]
    assert found.good.tolist() == list(range(len(messages)))


@given(st.integers(0, (1 << 48) - 1))
def test_mutated_messages_get_the_verdicts_of_the_one_by_one_path(seed: int) -> None:
    random = Random(seed)
    messages: list[bytes | None] = [mutated(random, m) for m in framings(1) for _ in range(5)]
    messages += framings(2)
    random.shuffle(messages)
    require_equal_to_one_by_one(messages)


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

"""Batches as Kafka gives them: mixed framings and schemas, every bad message, and the order of the rows."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog_schemas import schema_ids
from auditlog_schemas.codec import EVENT_SCHEMA, MessageDecoder, WriterSchemas, encode
from auditlog_schemas.columnar import CHUNK_MESSAGES, Decoded
from auditlog_schemas.columnar_events import IDS_AT_ONCE_MAX, EventDecoder
from auditlog_schemas.errors import RegistryUnavailable
from auditlog_schemas.limits import MESSAGE_BYTES_MAX
from auditlog_schemas.schema_ids import PLANS_MAX, UNKNOWN, Answer
from auditlog_schemas.verdicts import VERDICTS
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


@pytest.mark.parametrize("first_seed", range(0, 200, 50))
def test_random_batches_get_the_verdicts_of_the_one_by_one_path(first_seed: int) -> None:
    """Seeds of `scripts/bench fuzz_decode`, which goes through many more; see `kit.event_trial`."""
    for seed in range(first_seed, first_seed + 50):
        event_trial(seed)


class Registry:
    """Knows the event's schema by all ids that end in 7, and one that does not fit by those that end in 9."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.away = False

    def schema_by_id(self, schema_id: int) -> Any:
        self.asked.append(schema_id)
        if self.away:
            raise RegistryUnavailable(f"no answer about {schema_id}")
        return {7: EVENT_SCHEMA, 9: "string"}.get(schema_id % 10)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def schemas(registry: Registry) -> WriterSchemas:
    return WriterSchemas(lookup=registry)


def framed(*ids: int) -> list[bytes | None]:
    return [encode(full_record(), schema_id) for schema_id in ids]


def verdicts_of(decoded: Decoded) -> list[str]:
    return [VERDICTS[verdict].rule for verdict in decoded.verdict]


def test_a_registry_that_is_away_stops_the_batch(registry: Registry, schemas: WriterSchemas) -> None:
    registry.away = True
    decoder = EventDecoder(schemas)
    with pytest.raises(RegistryUnavailable):
        decoder.decode([encode(full_record()), *framed(*range(1000))])
    assert registry.asked == [0]
    assert decoder.decode([encode(full_record())]).good.tolist() == [0]


def test_decoding_a_part_asks_nobody_and_says_what_to_ask_for(
    registry: Registry, schemas: WriterSchemas
) -> None:
    decoder = EventDecoder(schemas)
    good = encode(full_record())
    messages = [good, None, *framed(7), good, *framed(18, 7, 9, 18), b"\0\0\0", good]
    part = decoder.decode_part(messages, {})
    assert (verdicts_of(part.decoded), part.unanswered) == (["", "tombstone"], (7, 18, 9))
    assert part.decoded.good.tolist() == [0]
    assert part.decoded.values.equals(decoder.decode([good]).values)
    assert registry.asked == []


def test_with_their_answers_the_rest_is_decoded(registry: Registry, schemas: WriterSchemas) -> None:
    messages = framed(7, 18, 9, 7, 27)
    answers = {schema_id: schemas.by_id.ask(schema_id) for schema_id in (7, 18, 9)}
    decoder = EventDecoder(WriterSchemas(lookup=registry))
    part = decoder.decode_part(messages, answers)
    assert verdicts_of(part.decoded) == ["", "unknown_schema_id", "schema_incompatible", ""]
    assert part.decoded.good.tolist() == [0, 3]
    assert part.unanswered == (27,)


def test_an_id_is_asked_for_with_the_rest_although_it_is_taken_as_unknown_now(
    schemas: WriterSchemas,
) -> None:
    for schema_id in (7, 9, 18):
        schemas.by_id.ask(schema_id)
    part = EventDecoder(schemas).decode_part(framed(18, 7, 9, 27, 7, 9, 18), {})
    assert verdicts_of(part.decoded) == ["unknown_schema_id", "", "schema_incompatible"]
    assert part.unanswered == (27, 18)


def test_an_id_means_the_same_in_the_whole_batch(
    registry: Registry, schemas: WriterSchemas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_ids, "UNKNOWN_ID_SECONDS", 0.0)
    ids = [8, *range(1000, 1000 + IDS_AT_ONCE_MAX), 8]
    rules = verdicts_of(EventDecoder(schemas).decode(framed(*ids)))
    assert set(rules[1::10]) | set(rules[:1]) == {"unknown_schema_id"}
    assert registry.asked.count(8) == 1
    used: dict[int, Answer] = {8: UNKNOWN}
    assert EventDecoder(schemas).decode_part(framed(8, 8), used).unanswered == ()
    schemas.by_id.ask(7)
    EventDecoder(schemas).decode_part(framed(7), used)
    assert [*used] == [8, 7]


def test_only_so_many_ids_are_named_at_once_and_each_part_comes_further(schemas: WriterSchemas) -> None:
    ids = Random(3).sample(range(100_000), CHUNK_MESSAGES + 1_000)
    messages = [b"\0" + schema_id.to_bytes(4, "big") for schema_id in ids]
    decoder = EventDecoder(schemas)
    answers: dict[int, Answer] = {}
    for done in range(0, 3 * IDS_AT_ONCE_MAX, IDS_AT_ONCE_MAX):
        part = decoder.decode_part(messages, answers)
        assert len(part.decoded.verdict) == done
        assert list(part.unanswered) == ids[done : done + IDS_AT_ONCE_MAX]
        answers |= dict.fromkeys(part.unanswered, UNKNOWN)
    rules = verdicts_of(decoder.decode(messages))
    assert rules == [{7: "truncated", 9: "schema_incompatible"}.get(i % 10, "unknown_schema_id") for i in ids]


@pytest.mark.parametrize("first", [0, 1, CHUNK_MESSAGES, CHUNK_MESSAGES + 400, 2 * CHUNK_MESSAGES - 1])
def test_a_part_ends_at_the_first_message_without_an_answer(schemas: WriterSchemas, first: int) -> None:
    good, (odd,) = encode(full_record()), framed(27)
    messages = [good] * first + [odd] + [good] * (2 * CHUNK_MESSAGES - first)
    part = EventDecoder(schemas).decode_part(messages, {})
    assert (len(part.decoded.verdict), part.unanswered) == (first, (27,))
    assert len(part.decoded.values) == len(part.decoded.good) == first


def test_an_answer_that_comes_while_the_batch_is_looked_at_does_not_hide_its_end(
    schemas: WriterSchemas, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = schemas.by_id.known

    def late(schema_id: int) -> Answer | None:
        found = known(schema_id)
        monkeypatch.setattr(schemas.by_id, "known", known)
        schemas.by_id.ask(schema_id)
        return found

    monkeypatch.setattr(schemas.by_id, "known", late)
    part = EventDecoder(schemas).decode_part([encode(full_record()), *framed(7)], {})
    assert (verdicts_of(part.decoded), part.unanswered) == ([""], (7,))


def test_each_id_of_a_batch_is_asked_for_once(registry: Registry, schemas: WriterSchemas) -> None:
    EventDecoder(schemas).decode([b"\0\0\0\0\x05x"] * 100 + [b"\0\0\0\0\x06x"])
    assert registry.asked == [5, 6]


def test_decoders_of_schemas_that_are_not_used_any_more_are_forgotten(schemas: WriterSchemas) -> None:
    decoder, single = EventDecoder(schemas), MessageDecoder(schemas)
    for schema_id in range(7, 20 * PLANS_MAX, 10):
        [message] = framed(schema_id)
        assert decoder.decode([message]).good.tolist() == [0]
        assert single.decode(message) == full_record()
    assert len(decoder._decoders) <= PLANS_MAX
    assert len(single._decoders) <= PLANS_MAX

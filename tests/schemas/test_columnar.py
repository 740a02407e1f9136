"""The columnar decoder, case by case: types, verdicts, neighbours, bounds."""

from __future__ import annotations

import time
import tracemalloc
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from auditlog_schemas.codec import EVENT_SCHEMA
from auditlog_schemas.columnar import CHUNK_BYTES, CHUNK_MESSAGES, ColumnarDecoder, Decoded
from auditlog_schemas.columnar_blocks import THIN
from auditlog_schemas.resolution import resolve
from auditlog_schemas.strict import StrictDecoder
from auditlog_schemas.verdicts import VERDICTS
from kit.arrow_values import comparable, values_of
from kit.decoding_trial import decoding_trial
from kit.hostile_bytes import CASES, ENUM, LAST_GOOD, LONGS, NULLS, STRINGS, UUID, UUID_BYTES, record
from kit.random_avro import encode_random, sized, varint


def decode(schema: Any, messages: list[bytes], reader: Any = None, start: Any = 0) -> Decoded:
    decoded = ColumnarDecoder(resolve(schema, reader)).decode(messages, start)
    decoded.values.validate(full=True)
    return decoded


def rules(decoded: Decoded) -> list[str]:
    return [VERDICTS[verdict].rule for verdict in decoded.verdict]


@pytest.mark.parametrize(("rule", "schema", "data", "offset"), CASES)
def test_a_broken_rule_alone_and_among_neighbours(rule: str, schema: Any, data: bytes, offset: int) -> None:
    plan = resolve(schema)
    assert rules(decode(schema, [data])) == [rule]
    good = [encode_random(Random(seed), schema) for seed in range(20)]
    good = [message for message in good if rules(decode(schema, [message])) == [""]]
    clean = decode(schema, good)
    for place in range(0, len(good) + 1, 5):
        decoded = decode(schema, [*good[:place], data, *good[place:]])
        assert rules(decoded) == [""] * place + [rule] + [""] * (len(good) - place)
        assert values_of(plan, decoded.values) == values_of(plan, clean.values)
        assert place not in decoded.good


@pytest.mark.parametrize(("schema", "data", "value"), LAST_GOOD)
def test_the_last_value_before_a_rule(schema: Any, data: bytes, value: Any) -> None:
    assert values_of(resolve(schema), decode(schema, [data] * 9).values) == [comparable(value)] * 9


def test_all_broken_rules_in_one_batch() -> None:
    schema = record({"type": "map", "values": ["null", LONGS]}, "string", UUID, name="All")
    random = Random(5)
    good = encode_random(random, schema)
    places = range(len(good))
    messages = [good[:i] + bytes([byte]) + good[i + 1 :] for i in places for byte in (0, 1, 0x80, 0xFF)]
    messages += [good[:i] for i in places] + [good + b"\0"]
    strict = StrictDecoder(resolve(schema))
    expected = []
    for message in messages:
        try:
            strict.decode(message)
            expected.append("")
        except Exception as error:
            expected.append(getattr(error, "rule", repr(error)))
    assert rules(decode(schema, messages)) == expected


TYPES: list[tuple[Any, pa.DataType]] = [
    ("null", pa.null()),
    ("boolean", pa.bool_()),
    ("int", pa.int32()),
    ("long", pa.int64()),
    ("float", pa.float32()),
    ("double", pa.float64()),
    ("bytes", pa.binary()),
    ("string", pa.string()),
    (UUID, pa.binary(16)),
    ({"type": "long", "logicalType": "timestamp-millis"}, pa.timestamp("ms", "UTC")),
    ({"type": "long", "logicalType": "timestamp-micros"}, pa.timestamp("us", "UTC")),
    ({"type": "fixed", "name": "F", "size": 5}, pa.binary(5)),
    ({"type": "fixed", "name": "F", "size": 65}, pa.binary()),
    (ENUM, pa.dictionary(pa.int32(), pa.string())),
    (LONGS, pa.list_(pa.int64())),
    (STRINGS, pa.map_(pa.string(), pa.string())),
    (["null", "int"], pa.int32()),
    (["string", "null"], pa.string()),
    (["null"], pa.null()),
    (["int"], pa.int32()),
    (record("int", ["null", "string"]), pa.struct([("f0", pa.int32()), ("f1", pa.string())])),
]


@pytest.mark.parametrize(("schema", "type_"), TYPES)
def test_types(schema: Any, type_: pa.DataType) -> None:
    assert decode(schema, []).values.type == type_
    assert decode(schema, [encode_random(Random(1), schema)] * 3).values.type == type_
    assert decode(schema, [b"\xff" * 70]).values.type == type_


def test_a_general_union_is_a_dense_union() -> None:
    schema = ["null", "int", "string"]
    decoded = decode(schema, [b"\x02\x0a", b"\0", b"\x04\x02x"])
    assert pa.types.is_union(decoded.values.type)
    assert decoded.values.to_pylist() == [5, None, "x"]


def test_uuids_are_bytes_most_significant_first() -> None:
    (value,) = decode(UUID, [UUID_BYTES]).values.to_pylist()
    assert value == bytes.fromhex("0198f2a07c1e7abc8def0123456789ab")


def test_a_signalling_nan_becomes_a_wider_nan_without_a_warning() -> None:
    """Found by fuzzing: numpy warned of the cast."""
    (value,) = decode("float", [b"\x01\0\xa0\x7f"], "double").values.to_pylist()
    assert value != value


def test_an_empty_record_still_counts_its_rows() -> None:
    decoded = decode(record(), [b"", b"x", b""])
    assert len(decoded.values) == 2
    assert rules(decoded) == ["", "trailing_bytes", ""]


def test_start_may_differ_by_message_and_lie_beyond_its_end() -> None:
    decoded = decode("int", [b"\x02", b"ab\x04", b"abc"], start=[0, 2, 4])
    assert rules(decoded) == ["", "", "truncated"]
    assert decoded.values.to_pylist() == [1, 2]


def test_a_skipped_field_is_checked_too() -> None:
    schema = record("string", UUID, STRINGS, "int", name="S")
    reader = {**schema, "fields": schema["fields"][3:]}
    good = sized(b"a") + UUID_BYTES + b"\x02\x02k\x02v\0\x0a"
    bad = [good.replace(b"a", b"\xff", 1), good.replace(b"-", b"+"), good[:-3] + b"v\x02\x02k\x02v\0\x0a"]
    decoded = decode(schema, [good, *bad, good], reader)
    assert rules(decoded) == ["", "bad_utf8", "bad_uuid", "duplicate_map_key", ""]
    assert decoded.batch.to_pylist() == [{"f3": 5}, {"f3": 5}]


def test_bad_utf8_that_is_good_when_strings_are_joined() -> None:
    schema = record("string", "string")
    split = b"\x02\xc3\x02\xa9"
    whole = b"\x04\xc3\xa9\x04\xc3\xa9"
    assert rules(decode(schema, [whole, split, whole, b"\x00\x02\xa9"])) == ["", "bad_utf8", "", "bad_utf8"]


def test_bytes_need_not_be_utf8() -> None:
    decoded = decode(record("bytes", ["null", "bytes"]), [b"\x02\xff\x02\x02\xfe"])
    assert decoded.batch.to_pylist() == [{"f0": b"\xff", "f1": b"\xfe"}]


def test_several_chunks_give_one_column() -> None:
    numbers = range(CHUNK_MESSAGES * 2 + 77)
    messages = [varint(i) if i % 1000 else b"" for i in numbers]
    decoded = decode("int", messages)
    expected = [i for i in numbers if i % 1000]
    assert decoded.values.to_pylist() == expected
    assert decoded.good.tolist() == expected
    assert np.flatnonzero(decoded.verdict).tolist() == [i for i in numbers if not i % 1000]


def test_large_messages_make_chunks_of_their_own() -> None:
    size = 2 * CHUNK_BYTES + 1
    decoded = decode("string", [b"\x02a", sized(b"x" * size), sized(b"y" * size), b"\x02b"])
    assert [len(value or "") for value in decoded.values.to_pylist()] == [1, size, size, 1]


@pytest.mark.parametrize("rows", [1, THIN - 1, THIN, 40])
@pytest.mark.parametrize("blocks", ["one", "many", "sized"])
def test_long_arrays_in_few_and_in_many_messages(rows: int, blocks: str) -> None:
    """Past some rounds with few cursors the strict decoder walks the rest: no difference may show."""
    schema = {"type": "array", "items": {"type": "map", "values": ["null", "string"]}}
    maps = [b"\x02\x02k\x02\x02v\0", b"\0", b"\x01\x06\x02k\0\0"]

    def message(count: int) -> bytes:
        items = [maps[i % 3] for i in range(count)]
        if blocks == "one":
            return varint(count) + b"".join(items) + b"\0" if count else b"\0"
        if blocks == "many":
            return b"".join(b"\x02" + item for item in items) + b"\0"
        return b"".join(b"\x01" + sized(item) for item in items) + b"\0"

    messages = [message(i % 7) for i in range(50)] + [message(100 + i) for i in range(rows)]
    messages += [message(120)[:-1], message(120)[:-1] + b"\x01", message(60) + b"\0", message(60)[:150]]
    strict, plan = StrictDecoder(resolve(schema)), resolve(schema)
    decoded = decode(schema, messages)
    assert decoded.good.tolist() == list(range(50 + rows))
    assert values_of(plan, decoded.values) == [strict.decode(m) for m in messages[: 50 + rows]]
    assert all(rules(decoded)[50 + rows :])


def test_items_without_bytes_in_more_blocks_than_rounds() -> None:
    """Found by fuzzing: what the strict decoder walked was taken for all that there was."""
    for counts in ([40, 0], [40, 0, 50], [0] * 10 + [90]):
        messages = [b"\x02" * count + b"\0" for count in counts]
        assert [len(value or []) for value in decode(NULLS, messages).values.to_pylist()] == counts


def test_a_message_that_ends_where_the_strict_decoder_takes_over() -> None:
    """Found by fuzzing: a count that was never there was taken from the next message, and walked."""
    for items in range(2, 60):
        cut = varint(items) + b"\x02\x02k\x02v\0" + b"\0" * (items - 2)
        decoded = decode({"type": "array", "items": STRINGS}, [cut, b"\x02" + varint(1_000)])
        assert rules(decoded) == ["truncated", "too_many_items"]


def elapsed(schema: Any, messages: list[bytes]) -> float:
    decoder = ColumnarDecoder(resolve(schema))
    start = time.process_time()
    decoder.decode(messages)
    return time.process_time() - start


def test_one_message_with_very_many_items_takes_no_longer_than_the_strict_decoder() -> None:
    """A round for each of 80,000 items would take seconds."""
    schema = {"type": "array", "items": record("string", ["null", "string"])}
    message = varint(80_000) + b"\x02a\0" * 80_000 + b"\0"
    start = time.process_time()
    StrictDecoder(resolve(schema)).decode(message)
    strict = time.process_time() - start
    assert elapsed(schema, [message, b"\0"] * 2) < 4 * strict + 0.5


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (LONGS, varint(1 << 40) + b"\0"),
        (LONGS, varint(-(1 << 62)) + varint(3) + b"\0\0\0"),
        (NULLS, varint(1 << 40) + b"\0"),
        ({"type": "array", "items": record()}, varint(1 << 62)),
        ({"type": "array", "items": NULLS}, b"\x04" + varint(5) * 2),
        ("string", varint(1 << 40)),
        ("bytes", varint((1 << 63) - 1)),
        (STRINGS, varint(1 << 30) + b"\0\0"),
        ({"type": "fixed", "name": "F", "size": 1 << 20}, b"abc"),
        (["null", {"type": "fixed", "name": "F", "size": 1 << 20}], b"\0"),
        (["null", {"type": "fixed", "name": "F", "size": 1 << 20}], b"\x02abc"),
    ],
)
def test_a_short_message_cannot_ask_for_much(schema: Any, message: bytes) -> None:
    decoder = ColumnarDecoder(resolve(schema))
    decoder.decode([message])
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        decoded = decoder.decode([message] * 1_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
    assert pa.total_allocated_bytes() - before < 4 << 20
    assert len(decoded.verdict) == 1_000


def test_many_messages_that_are_all_bad() -> None:
    messages = [b"\xff" * 12] * (CHUNK_MESSAGES + 1)
    decoded = decode(EVENT_SCHEMA, messages)
    assert set(rules(decoded)) == {"varint_too_long"}
    assert decoded.batch.num_rows == 0


@pytest.mark.parametrize("first_seed", range(0, 2_000, 500))
def test_random_batches_with_and_without_mutations(first_seed: int) -> None:
    """Seeds of `scripts/bench fuzz_decode`, which goes through many more; see `kit.decoding_trial`."""
    for seed in range(first_seed, first_seed + 500):
        decoding_trial(seed)

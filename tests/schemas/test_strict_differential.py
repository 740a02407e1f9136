"""The strict decoder against fastavro: equal values on random schemas, or a listed rule of our own."""

from __future__ import annotations

import struct
from io import BytesIO
from random import Random
from typing import Any

import fastavro
from hypothesis import given
from hypothesis import strategies as st

from auditlog_schemas.errors import DecodeError
from auditlog_schemas.plan import Array, Map, Node, Record, Scalar, Union
from auditlog_schemas.resolution import resolve
from auditlog_schemas.strict import CONTENT_RULES, STRUCTURE_RULES, StrictDecoder
from kit.random_avro import RandomSchema, encode_random, later_version, mutated, without_logical

SEEDS = st.integers(0, (1 << 48) - 1)


def fastavro_read(writer: Any, reader: Any, data: bytes) -> Any:
    parsed = fastavro.parse_schema(without_logical(writer))
    wanted = None if reader is None else fastavro.parse_schema(without_logical(reader))
    return fastavro.schemaless_reader(BytesIO(data), parsed, wanted)


def rounded(node: Node, value: Any) -> Any:
    """Return fastavro's value as the reader's type: it leaves a promoted integer an integer."""
    match node:
        case Scalar(type="float") if value is not None:
            return struct.unpack("<f", struct.pack("<f", value))[0]
        case Scalar(type="bytes") if isinstance(value, str):
            return value.encode()
        case Array(items=items):
            return [rounded(items, item) for item in value]
        case Map(values=values):
            return {key: rounded(values, item) for key, item in value.items()}
        case Union(branches=(branch,)) if branch is not None:
            return rounded(branch, value)
        case Record(steps=steps, defaults=defaults):
            plans = {step.name: step.node for step in [*steps]} | {d.name: d.node for d in defaults}
            return {key: rounded(plans[key], item) for key, item in value.items()}
        case _:
            return value


def outcome(plan: Node, data: bytes) -> tuple[str, Any]:
    """Return the broken rule and None, or "" and the value."""
    try:
        return "", StrictDecoder(plan).decode(data)
    except DecodeError as error:
        return error.rule, None


@given(SEEDS)
def test_equal_to_fastavro_on_valid_bytes(seed: int) -> None:
    random = Random(seed)
    schema = RandomSchema(random).record()
    plan = resolve(schema)
    for _ in range(3):
        data = encode_random(random, schema)
        rule, value = outcome(plan, data)
        assert rule == "zero_size_items" or value == fastavro_read(schema, None, data)


@given(SEEDS)
def test_equal_to_fastavro_under_a_later_readers_schema(seed: int) -> None:
    random = Random(seed)
    writer = RandomSchema(random).record()
    reader = later_version(random, writer)
    plan = resolve(writer, reader)
    data = encode_random(random, writer)
    rule, value = outcome(plan, data)
    assert rule in ("zero_size_items", "bad_utf8") or value == rounded(
        plan, fastavro_read(writer, reader, data)
    )


@given(SEEDS)
def test_stricter_than_fastavro_only_by_a_listed_rule(seed: int) -> None:
    random = Random(seed)
    schema = RandomSchema(random).record()
    data = mutated(random, encode_random(random, schema))
    rule, value = outcome(resolve(schema), data)
    if rule:
        assert rule in (*STRUCTURE_RULES, *CONTENT_RULES)
    else:
        # By form, since a flipped bit may well make a float NaN.
        assert repr(value) == repr(fastavro_read(schema, None, data))

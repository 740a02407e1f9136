"""Schema resolution, by the sections of the Avro specification, and what is refused."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from auditlog_schemas.errors import SchemaIncompatible
from auditlog_schemas.expansion import DEPTH_MAX, TYPES_MAX
from auditlog_schemas.resolution import resolve
from auditlog_schemas.strict import StrictDecoder
from kit.random_avro import sized, varint


def read(writer: Any, reader: Any, data: bytes) -> Any:
    return StrictDecoder(resolve(writer, reader)).decode(data)


def record(*fields: Any, name: str = "R", **attributes: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **attributes}


def field(name: str, type_: Any = "int", **attributes: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **attributes}


NUMBERS = {
    "int": (varint(-3), -3),
    "long": (varint(1 << 40), 1 << 40),
    "float": (struct.pack("<f", 0.5), 0.5),
    "string": (sized(b"text"), "text"),
    "bytes": (sized(b"text"), b"text"),
}


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        *[("int", wider) for wider in ("long", "float", "double")],
        *[("long", wider) for wider in ("float", "double")],
        ("float", "double"),
        ("string", "bytes"),
        ("bytes", "string"),
    ],
)
def test_promotions(writer: str, reader: str) -> None:
    data, written = NUMBERS[writer]
    expected = {"bytes": b"text", "string": "text"}.get(reader, written)
    found = read(writer, reader, data)
    assert found == expected
    assert type(found) is type(expected) or (reader in ("float", "double") and type(found) is float)


def test_a_long_becomes_the_nearest_float() -> None:
    assert read("long", "float", varint((1 << 30) + 1)) == float(1 << 30)
    assert read("long", "double", varint((1 << 30) + 1)) == float((1 << 30) + 1)


@pytest.mark.parametrize(
    ("writer", "reader"),
    [("long", "int"), ("double", "float"), ("int", "string"), ("boolean", "int"), ("null", "string")],
)
def test_what_does_not_promote(writer: str, reader: str) -> None:
    with pytest.raises(SchemaIncompatible, match=f"{writer} was written, {reader} is wanted"):
        resolve(writer, reader)


def test_fields_are_found_by_name_and_given_in_the_readers_order() -> None:
    writer = record(field("a"), field("b", "string"))
    assert list(read(writer, record(field("b", "string"), field("a")), b"\x02\x02x").items()) == [
        ("b", "x"),
        ("a", 1),
    ]


def test_a_field_that_the_reader_lacks_is_skipped() -> None:
    writer = record(field("a"), field("gone", {"type": "array", "items": "string"}), field("b"))
    assert read(writer, record(field("b")), b"\x02\x02\x02x\0\x04") == {"b": 2}


def test_a_field_that_only_the_reader_has_takes_its_default() -> None:
    defaults: list[tuple[Any, Any, Any]] = [
        ("null", None, None),
        ("boolean", True, True),
        ("long", -5, -5),
        ("double", 1, 1.0),
        ("bytes", "\u00ff", b"\xff"),
        ("string", "né", "né"),
        ({"type": "fixed", "name": "F", "size": 2}, "\u0001\u0002", b"\1\2"),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "B"),
        ({"type": "array", "items": "int"}, [1, 2], [1, 2]),
        ({"type": "map", "values": "int"}, {"k": 1}, {"k": 1}),
        (["null", "int"], None, None),
        (["int", "null"], 3, 3),
        (["null", "string"], "x", "x"),
        (record(field("x"), field("y", default=4), name="N"), {"x": 3}, {"x": 3, "y": 4}),
    ]
    for type_, default, expected in defaults:
        reader = record(field("new", type_, default=default))
        assert read(record(), reader, b"") == {"new": expected}


def test_a_default_is_a_fresh_value_each_time() -> None:
    plan = resolve(record(), record(field("new", {"type": "array", "items": "int"}, default=[])))
    decoder = StrictDecoder(plan)
    decoder.decode(b"")["new"].append(1)
    assert decoder.decode(b"") == {"new": []}


@pytest.mark.parametrize(
    ("type_", "default"),
    [
        ("int", "1"),
        ("int", 1 << 31),
        ("int", True),
        ("long", 1 << 63),
        ("string", None),
        ("bytes", "☃"),
        ("float", 1e39),
        ({"type": "fixed", "name": "F", "size": 2}, "abc"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "B"),
        (["null", "int"], "x"),
        ({"type": "array", "items": "int"}, ["x"]),
        (record(field("x"), name="N"), {}),
    ],
)
def test_a_wrong_default_is_refused(type_: Any, default: Any) -> None:
    with pytest.raises(SchemaIncompatible, match="reader's schema at new: wrong default"):
        resolve(record(), record(field("new", type_, default=default)))


def test_without_a_default_a_new_field_is_refused() -> None:
    writer, reader = record(name="N"), record(field("new"), name="N")
    with pytest.raises(SchemaIncompatible, match=r"schema at in\.new: not written, and the reader has no"):
        resolve(record(field("in", writer)), record(field("in", reader)))


def test_aliases_rename_fields_and_types() -> None:
    writer = record(field("old", {"type": "fixed", "name": "Old", "size": 1}), name="a.Before")
    reader = record(
        field("new", {"type": "fixed", "name": "New", "size": 1, "aliases": ["Old"]}, aliases=["old"]),
        name="b.After",
        aliases=["a.Before"],
    )
    assert read(writer, reader, b"x") == {"new": b"x"}


def test_a_field_of_the_name_goes_before_an_alias() -> None:
    writer = record(field("a"), field("b"))
    reader = record(field("b"), field("c", aliases=["b", "a"]))
    assert read(writer, reader, b"\x02\x04") == {"b": 2, "c": 1}
    reader = record(field("c", aliases=["b"], default=9), field("b"))
    assert read(writer, reader, b"\x02\x04") == {"c": 9, "b": 2}


def test_names_match_unqualified_and_otherwise_not_at_all() -> None:
    assert read(record(name="x.R"), record(name="y.R"), b"") == {}
    with pytest.raises(SchemaIncompatible, match="record Q was written, record R is wanted"):
        resolve(record(name="Q"), record(name="R"))


def test_enum_symbols_are_mapped_by_name_else_to_the_default() -> None:
    writer = {"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}
    reader = {"type": "enum", "name": "E", "symbols": ["?", "C", "A"], "default": "?"}
    assert [read(writer, reader, varint(i)) for i in range(3)] == ["A", "?", "C"]


def test_unions() -> None:
    assert read("int", ["null", "long"], varint(5)) == 5
    assert read(["null", "int"], "long", b"\x02\x0a") == 5
    assert read(["null", "int"], ["string", "null"], b"\0") is None
    assert read(["int", "string"], ["string", "null", "long"], b"\0\x0a") == 5
    plan = resolve("int", ["long", "int"])
    assert getattr(plan, "targets", None) == (1,)


def test_timestamps_keep_their_unit() -> None:
    millis, micros = ({"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("millis", "micros"))
    assert read(millis, millis, varint(5)) == 5
    assert read(millis, "long", varint(5)) == 5
    with pytest.raises(SchemaIncompatible, match="timestamp-millis was written, timestamp-micros is wanted"):
        resolve(millis, micros)


def test_names_are_resolved_in_their_namespace() -> None:
    inner = {"type": "fixed", "name": "X", "size": 1}
    other = {"type": "fixed", "name": "b.X", "size": 2}
    schema = record(field("p", inner), field("q", other), field("r", "X"), field("s", "b.X"), name="a.R")
    assert read(schema, None, b"1223" + b"34"[:2]) == {"p": b"1", "q": b"22", "r": b"3", "s": b"34"}


def nested(levels: int) -> Any:
    schema: Any = "int"
    for _ in range(levels - 1):
        schema = {"type": "array", "items": schema}
    return schema


def test_the_depth_is_bounded() -> None:
    assert resolve(nested(DEPTH_MAX))
    for levels in (DEPTH_MAX + 1, 100_000):
        with pytest.raises(SchemaIncompatible, match="nested deeper than"):
            resolve(nested(levels))


def test_the_depth_counts_through_references() -> None:
    fields = [field("f0", record(name="T0"))]
    fields += [field(f"f{i}", record(field("x", f"T{i - 1}"), name=f"T{i}")) for i in range(1, 100)]
    with pytest.raises(SchemaIncompatible, match="nested deeper than"):
        resolve(record(*fields))


def test_the_size_is_bounded_when_names_are_written_out() -> None:
    fields = [field("f0", record(field("x"), name="T0"))]
    fields += [
        field(f"f{i}", record(field("x", f"T{i - 1}"), field("y", f"T{i - 1}"), name=f"T{i}"))
        for i in range(1, 25)
    ]
    with pytest.raises(SchemaIncompatible, match=f"more than {TYPES_MAX:,} types"):
        resolve(record(*fields))

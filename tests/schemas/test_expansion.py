"""What is refused as no valid Avro schema, and that nothing else comes of one."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any

import pytest

from auditlog_schemas.errors import SchemaIncompatible
from auditlog_schemas.fingerprints import hamba_fingerprint, schema_fingerprint
from auditlog_schemas.resolution import resolve
from auditlog_schemas.strict import StrictDecoder
from kit.random_avro import RandomSchema, sized


def record(*fields: Any, name: str = "R", **attributes: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **attributes}


def field(name: str, type_: Any = "int", **attributes: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **attributes}


def decoded(schema: Any, data: bytes) -> Any:
    return StrictDecoder(resolve(schema)).decode(data)


REFUSED: list[tuple[str, Any]] = [
    ("Node contains itself; recursion is refused", record(field("next", ["null", "Node"]), name="Node")),
    (
        r"a\.B contains itself",
        record(field("x", record(field("y", {"type": "array", "items": "B"}), name="B")), name="a.A"),
    ),
    ("unknown type 'Colour'", record(field("c", "Colour"))),
    ("is defined twice", record(field("a", record()), name="R")),
    ("needs branches, and none of them a union", [["null"], "int"]),
    ("needs branches", []),
    ("two branches of one type: int, int", ["int", "int"]),
    ("two fields of one name", record(field("a"), field("a"))),
    ("an enum needs symbols, each of them once", {"type": "enum", "name": "E", "symbols": ["A", "A"]}),
    ("none of its symbols", {"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}),
    ("a fixed has 0 to", {"type": "fixed", "name": "F", "size": -1}),
    (
        "the enum's default, an object, is none of",
        {"type": "enum", "name": "E", "symbols": ["A"], "default": {}},
    ),
    ("at the top: 'items' is missing", {"type": "array"}),
    ("at the top: 'size' is missing", {"type": "fixed", "name": "F"}),
    ("'size' cannot be True", {"type": "fixed", "name": "F", "size": True}),
    ("'symbols' cannot be 'AB'", {"type": "enum", "name": "E", "symbols": "AB"}),
    ("'name' is missing", {"type": "record", "fields": []}),
    ("'name' cannot be 5", record() | {"name": 5}),
    ("'namespace' cannot be 5", record(namespace=5)),
    ("'fields' cannot be an object", {"type": "record", "name": "R", "fields": {}}),
    ("at the top: field 1: 5 is no field", record(field("a"), 5)),
    ("at the top, field 0: 'name' is missing", record({"type": "int"})),
    ("at a: 'type' is missing", record({"name": "a"})),
    ("at a: 7 is no type", record(field("a", 7))),
    ("at a: 'aliases' cannot be 3", record(field("a", aliases=3))),
    ("at a: aliases are names", record(field("a", aliases=[3]))),
    ("'aliases' cannot be 'b'", record(aliases="b")),
    ("at a: 'logicalType' cannot be a list", record(field("a", {"type": "string", "logicalType": ["x"]}))),
    ("'type' is missing", {}),
    ("'type' cannot be None", {"type": None}),
    ("unknown type 'error'", {"type": "error", "name": "E", "fields": []}),
    ("5 is no type: that is a name, a list or an object", 5),
    ("None is no type", None),
    ("two branches of one type", ["string", {"type": "string", "name": "other"}]),
]


@pytest.mark.parametrize(("message", "schema"), REFUSED)
def test_a_refused_schema_has_a_reason(message: str, schema: Any) -> None:
    with pytest.raises(SchemaIncompatible, match=message):
        resolve(schema)


def test_attributes_that_are_null_are_as_if_they_were_not_there() -> None:
    text = {"type": "string", "logicalType": None}
    assert decoded(record(field("a", text, aliases=None), namespace=None, aliases=None), sized(b"x")) == {
        "a": "x"
    }


def test_a_long_reason_is_cut() -> None:
    """A registry's schema may have anything in it, and the reason goes into log lines and dead letters."""
    for schema in (
        record(field("a", "X" * 100_000)),
        record(field("f" * 100_000, 5)),
        record(name="N" * 100_000),
    ):
        with pytest.raises(SchemaIncompatible) as caught:
            resolve(schema, "int")
        assert len(str(caught.value)) < 1_000


VALUES: list[Any] = [
    *(
        None,
        True,
        -1,
        1.5,
        10**30,
        "",
        "x",
        "int",
        "record",
        "enum",
        "fixed",
        "array",
        [],
        {},
        [5],
        [[]],
        [{}],
    ),
    *({"type": "int"}, ["null", "null"], {"type": "string", "logicalType": ["x"]}),
]
ATTRIBUTES = [
    *("type", "name", "namespace", "aliases", "fields", "symbols", "items", "values", "size"),
    *("logicalType", "default", "precision"),
]


def spoilt(random: Random, schema: Any) -> Any:
    """Return a schema in which one place holds something else, nothing, or one attribute more."""
    schema = deepcopy(schema)
    places: list[tuple[Any, Any]] = []
    inside = [schema]
    while inside:
        holder = inside.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        places += [(holder, key) for key in keys]
        inside += [holder[key] for key in keys if isinstance(holder[key], (dict, list))]
    holder, key = random.choice(places)
    change = random.choice(["other", "other", "gone", "more"])
    if change == "gone":
        del holder[key]
    elif change == "more" and isinstance(holder, dict):
        holder[random.choice(ATTRIBUTES)] = deepcopy(random.choice(VALUES))
    else:
        holder[key] = deepcopy(random.choice(VALUES))
    return schema


@pytest.mark.parametrize("first_seed", range(0, 2_000, 500))
def test_whatever_a_schema_holds_it_is_read_or_refused(first_seed: int) -> None:
    refused = 0
    for seed in range(first_seed, first_seed + 500):
        random = Random(seed)
        schema = spoilt(random, record(field("a", RandomSchema(random).record(3)), field("b"), aliases=["Q"]))
        for use in (resolve, schema_fingerprint, hamba_fingerprint):
            try:
                use(schema)
            except SchemaIncompatible:
                refused += 1
    assert 100 < refused < 1_400

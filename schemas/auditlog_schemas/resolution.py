"""Avro schema resolution: writer's schema and reader's schema in, one plan out.

Source: Apache Avro 1.12 specification, "Schema Resolution", with these deliberate refusals: recursive
types, nesting deeper than `DEPTH_MAX`, and a timestamp read in another unit than it was written in.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from auditlog_schemas.errors import SchemaIncompatible
from auditlog_schemas.plan import Array, Default, Enum, Fixed, Map, Node, Record, Scalar, Step, Union

Schema: TypeAlias = Any
"""A schema as `json.loads` gives it: a name, a list (union) or a dict."""

DEPTH_MAX: Final = 32
PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
PROMOTIONS: Final = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
TIMESTAMPS: Final = frozenset({"timestamp-millis", "timestamp-micros"})
LOGICAL_TYPES: Final = {"uuid": "string", "timestamp-millis": "long", "timestamp-micros": "long"}


def resolve(writer: Schema, reader: Schema | None = None) -> Node:
    """Return the plan that reads bytes of `writer` as `reader` (as itself when None).

    Raises:
        SchemaIncompatible: the schemas do not resolve, or one of them is invalid, recursive or too deep;
            the message names the path of the type that is at fault.
    """
    try:
        expanded = _expand(writer, {}, (), "", "writer")
        return _resolve(expanded, expanded if reader is None else _expand(reader, {}, (), "", "reader"), "")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise SchemaIncompatible(f"not a valid Avro schema: {type(error).__name__}: {error}") from error


class _NoMatch(Exception):
    """The two types do not match: an error at the top, the next branch's turn inside a union."""


def _resolve(writer: Schema, reader: Schema, path: str) -> Node:
    try:
        return _match(writer, reader, path)
    except _NoMatch as error:
        raise SchemaIncompatible(f"schema at {path or 'the top'}: {error}") from None


def _match(writer: Schema, reader: Schema, path: str) -> Node:
    if isinstance(writer, list):
        return _match_writer_union(writer, reader, path)
    if isinstance(reader, list):
        target, node = _first_branch(writer, reader, path)
        return Union((node,), (target,), _self_resolved(reader, path), tagged=False)
    kind, wanted = writer["type"], reader["type"]
    if kind in PRIMITIVES and wanted in PRIMITIVES:
        return _match_primitive(writer, reader)
    if kind != wanted:
        raise _NoMatch(f"{_name(writer)} was written, {_name(reader)} is wanted")
    if kind == "array":
        return Array(_resolve(writer["items"], reader["items"], f"{path}[]"))
    if kind == "map":
        return Map(_resolve(writer["values"], reader["values"], f"{path}{{}}"))
    if not _same_name(writer, reader):
        raise _NoMatch(f"{_name(writer)} was written, {_name(reader)} is wanted")
    if kind == "fixed":
        if writer["size"] != reader["size"]:
            raise _NoMatch(f"fixed of {writer['size']} bytes was written, of {reader['size']} is wanted")
        return Fixed(writer["size"])
    if kind == "enum":
        return _match_enum(writer, reader)
    return _match_record(writer, reader, path)


def _match_primitive(writer: Schema, reader: Schema) -> Scalar:
    wire, wanted = writer["type"], reader["type"]
    if wire != wanted and wanted not in PROMOTIONS.get(wire, ()):
        raise _NoMatch(f"{wire} was written, {wanted} is wanted")
    units = {writer.get("logicalType"), reader.get("logicalType")} & TIMESTAMPS
    if len(units) == 2:
        raise _NoMatch(f"{writer['logicalType']} was written, {reader['logicalType']} is wanted")
    logical = reader.get("logicalType")
    return Scalar(wire, wanted, logical if LOGICAL_TYPES.get(logical) == wanted else None)


def _match_writer_union(writer: list[Schema], reader: Schema, path: str) -> Union:
    branches: list[Node | None] = []
    targets: list[int] = []
    for branch in writer:
        try:
            if isinstance(reader, list):
                target, node = _first_branch(branch, reader, path)
                targets.append(target)
                branches.append(node)
            else:
                branches.append(_match(branch, reader, path))
        except (_NoMatch, SchemaIncompatible):
            targets.append(-1)
            branches.append(None)
    if not any(branches):
        raise _NoMatch("no branch of the written union is wanted")
    if isinstance(reader, list):
        return Union(tuple(branches), tuple(targets), _self_resolved(reader, path))
    return Union(tuple(branches))


def _first_branch(writer: Schema, reader: list[Schema], path: str) -> tuple[int, Node]:
    """Return the reader's branch of the very same type, else the first one that resolves."""
    exact = [i for i, branch in enumerate(reader) if branch["type"] == writer["type"]]
    for index in [*exact, *(i for i in range(len(reader)) if i not in exact)]:
        try:
            return index, _match(writer, reader[index], path)
        except (_NoMatch, SchemaIncompatible):
            continue
    raise _NoMatch(f"{_name(writer)} is no branch of the wanted union")


def _self_resolved(reader: list[Schema], path: str) -> tuple[Node, ...]:
    return tuple(_resolve(branch, branch, path) for branch in reader)


def _match_enum(writer: Schema, reader: Schema) -> Enum:
    symbols = tuple(reader["symbols"])
    default = symbols.index(reader["default"]) if "default" in reader else -1
    index = {symbol: i for i, symbol in enumerate(symbols)}
    return Enum(symbols, tuple(index.get(symbol, default) for symbol in writer["symbols"]))


def _match_record(writer: Schema, reader: Schema, path: str) -> Record:
    wanted = {name: field for field in reader["fields"] for name in _names(field)}
    steps: list[Step] = []
    for field in writer["fields"]:
        below = f"{path}.{field['name']}".lstrip(".")
        target = wanted.get(field["name"])
        if target is None:
            steps.append(Step(None, _resolve(field["type"], field["type"], below)))
        else:
            steps.append(Step(target["name"], _resolve(field["type"], target["type"], below)))
    read = {step.name for step in steps}
    defaults: list[Default] = []
    for field in reader["fields"]:
        if field["name"] not in read:
            below = f"{path}.{field['name']}".lstrip(".")
            if "default" not in field:
                raise SchemaIncompatible(f"schema at {below}: not written, and the reader has no default")
            node = _resolve(field["type"], field["type"], below)
            defaults.append(Default(field["name"], _default(field["type"], field["default"]), node))
    return Record(tuple(field["name"] for field in reader["fields"]), tuple(steps), tuple(defaults))


def _default(schema: Schema, value: Any) -> Any:
    """Turn a default's JSON into data; a union's default belongs to its first branch, bytes are Latin-1."""
    if isinstance(schema, list):
        return _default(schema[0], value)
    kind = schema["type"]
    if kind in ("bytes", "fixed"):
        return value.encode("latin-1")
    if kind == "array":
        return [_default(schema["items"], item) for item in value]
    if kind == "map":
        return {key: _default(schema["values"], item) for key, item in value.items()}
    if kind == "record":
        return {
            f["name"]: _default(f["type"], value.get(f["name"], f.get("default"))) for f in schema["fields"]
        }
    return float(value) if kind in ("float", "double") else value


def _names(field: Schema) -> tuple[str, ...]:
    return (field["name"], *field.get("aliases", ()))


def _same_name(writer: Schema, reader: Schema) -> bool:
    name = writer["name"].rpartition(".")[2]
    return any(name == known.rpartition(".")[2] for known in _names(reader))


def _name(schema: Schema) -> str:
    return f"{schema['type']} {schema['name']}" if "name" in schema else str(schema["type"])


def _expand(
    schema: Schema, known: dict[str, Schema], inside: tuple[str, ...], path: str, side: str
) -> Schema:
    """Replace every reference to a named type by its definition; every type becomes a dict or a list."""
    if len(inside) > DEPTH_MAX:
        raise SchemaIncompatible(f"{side}'s schema at {path}: nested deeper than {DEPTH_MAX} levels")
    below = (*inside, "")
    if isinstance(schema, list):
        if any(isinstance(branch, list) for branch in schema) or not schema:
            raise SchemaIncompatible(f"{side}'s schema at {path or 'the top'}: a union needs plain branches")
        return [_expand(branch, known, below, path, side) for branch in schema]
    if isinstance(schema, str):
        if schema in PRIMITIVES:
            return {"type": schema}
        return _reference(schema, known, inside, path, side)
    kind = schema.get("type")
    if isinstance(kind, (dict, list)):
        return _expand(kind, known, below, path, side)
    if kind in PRIMITIVES:
        return schema
    if kind == "array":
        return schema | {"items": _expand(schema["items"], known, below, f"{path}[]", side)}
    if kind == "map":
        return schema | {"values": _expand(schema["values"], known, below, f"{path}{{}}", side)}
    if kind in ("record", "enum", "fixed"):
        return _expand_named(schema, known, inside, path, side)
    return _reference(str(kind), known, inside, path, side)


def _expand_named(
    schema: Schema, known: dict[str, Schema], inside: tuple[str, ...], path: str, side: str
) -> Schema:
    name = str(schema["name"]).rpartition(".")[2]
    if schema["type"] != "record":
        known[name] = schema
        return schema
    known[name] = {"type": "record", "name": name, "fields": None}
    fields = [
        field
        | {
            "type": _expand(
                field["type"], known, (*inside, name), f"{path}.{field['name']}".lstrip("."), side
            )
        }
        for field in schema["fields"]
    ]
    known[name] = schema | {"fields": fields}
    return known[name]


def _reference(name: str, known: dict[str, Schema], inside: tuple[str, ...], path: str, side: str) -> Schema:
    short = name.rpartition(".")[2]
    if short in inside:
        raise SchemaIncompatible(f"{side}'s schema at {path}: {short} contains itself; recursion is refused")
    if short not in known:
        raise SchemaIncompatible(f"{side}'s schema at {path or 'the top'}: unknown type {name!r}")
    return known[short]

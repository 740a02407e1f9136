"""Avro schema resolution: writer's schema and reader's schema in, one plan out.

Source: Apache Avro 1.12 specification, "Schema Resolution" and "Aliases", with these deliberate refusals:
what `auditlog_schemas.expansion` refuses, and a timestamp read in another unit than it was written in.
"""

from __future__ import annotations

from typing import Final

from auditlog_schemas.defaults import encode_default
from auditlog_schemas.errors import SchemaIncompatible
from auditlog_schemas.expansion import PRIMITIVES, Schema, expand
from auditlog_schemas.plan import Array, Default, Enum, Fixed, Map, Node, Record, Scalar, Step, Union

__all__ = ["Schema", "resolve"]

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
        SchemaIncompatible: the schemas do not resolve, or one of them is invalid, recursive, too deep or too
            large; the message names the path of the type that is at fault.
    """
    written = expand(writer, "writer")
    wanted = written if reader is None else expand(reader, "reader")
    try:
        return _Resolution().resolve(written, wanted, "")
    except _NoMatch as error:
        raise SchemaIncompatible(str(error)) from None


class _NoMatch(Exception):
    """The two types do not match: an error at the top, the next branch's turn inside a union."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"schema at {path or 'the top':.200}: {reason:.400}")


class _Resolution:
    """Resolves pairs of expanded types, each pair once: shared definitions give shared plans."""

    def __init__(self) -> None:
        self._resolved: dict[tuple[int, int], Node | _NoMatch] = {}

    def resolve(self, writer: Schema, reader: Schema, path: str) -> Node:
        """Return the plan of one pair of types.

        Pairs are known by identity: both types stay alive as parts of the expanded schemas.
        """
        key = (id(writer), id(reader))
        if key not in self._resolved:
            try:
                self._resolved[key] = self._match(writer, reader, path)
            except _NoMatch as error:
                self._resolved[key] = error
        found = self._resolved[key]
        if isinstance(found, _NoMatch):
            raise found
        return found

    def _match(self, writer: Schema, reader: Schema, path: str) -> Node:
        if isinstance(writer, list):
            return self._match_writer_union(writer, reader, path)
        if isinstance(reader, list):
            target, node = self._first_branch(writer, reader, path)
            return Union((node,), (target,), self._own_plans(reader, path), tagged=False)
        kind, wanted = writer["type"], reader["type"]
        if kind in PRIMITIVES and wanted in PRIMITIVES:
            return _match_primitive(writer, reader, path)
        if kind != wanted or not _same_name(writer, reader):
            raise _NoMatch(path, f"{_name(writer)} was written, {_name(reader)} is wanted")
        if kind == "array":
            return Array(self.resolve(writer["items"], reader["items"], f"{path}[]"))
        if kind == "map":
            return Map(self.resolve(writer["values"], reader["values"], f"{path}{{}}"))
        if kind == "fixed":
            return _match_fixed(writer, reader, path)
        if kind == "enum":
            return _match_enum(writer, reader)
        return self._match_record(writer, reader, path)

    def _match_writer_union(self, writer: list[Schema], reader: Schema, path: str) -> Union:
        branches: list[Node | None] = []
        targets: list[int] = []
        for branch in writer:
            target, node = self._branch(branch, reader, path)
            targets.append(target)
            branches.append(node)
        if not any(branches):
            raise _NoMatch(path, "no branch of the written union is wanted")
        if isinstance(reader, list):
            return Union(tuple(branches), tuple(targets), self._own_plans(reader, path))
        return Union(tuple(branches))

    def _branch(self, writer: Schema, reader: Schema, path: str) -> tuple[int, Node | None]:
        try:
            if isinstance(reader, list):
                return self._first_branch(writer, reader, path)
            return 0, self.resolve(writer, reader, path)
        except _NoMatch:
            return -1, None

    def _first_branch(self, writer: Schema, reader: list[Schema], path: str) -> tuple[int, Node]:
        """Return the reader's branch of the very same type, else the first one that resolves.

        The specification takes the first that resolves; like the Java implementation we look for the same
        type first, so that an int written into [long, int] stays an int.
        """
        exact = [i for i, branch in enumerate(reader) if branch["type"] == writer["type"]]
        for index in [*exact, *(i for i in range(len(reader)) if i not in exact)]:
            try:
                return index, self.resolve(writer, reader[index], path)
            except _NoMatch:
                continue
        raise _NoMatch(path, f"{_name(writer)} is no branch of the wanted union")

    def _own_plans(self, reader: list[Schema], path: str) -> tuple[Node, ...]:
        return tuple(self.resolve(branch, branch, path) for branch in reader)

    def _match_record(self, writer: Schema, reader: Schema, path: str) -> Record:
        sources = _sources(writer, reader)
        steps: list[Step] = []
        for field in writer["fields"]:
            below = f"{path}.{field['name']}".lstrip(".")
            target = sources.get(field["name"])
            if target is None:
                steps.append(Step(None, self.resolve(field["type"], field["type"], below)))
            else:
                steps.append(Step(target["name"], self.resolve(field["type"], target["type"], below)))
        read = {step.name for step in steps}
        defaults = [self._default(f, path) for f in reader["fields"] if f["name"] not in read]
        return Record(tuple(field["name"] for field in reader["fields"]), tuple(steps), tuple(defaults))

    def _default(self, field: Schema, path: str) -> Default:
        below = f"{path}.{field['name']}".lstrip(".")
        if "default" not in field:
            raise _NoMatch(below, "not written, and the reader has no default")
        try:
            wire = encode_default(field["type"], field["default"])
        except ValueError as error:
            raise SchemaIncompatible(f"reader's schema at {below}: wrong default: {error}") from error
        return Default(field["name"], wire, self.resolve(field["type"], field["type"], below))


def _sources(writer: Schema, reader: Schema) -> dict[str, Schema]:
    """Map names of written fields to the reader's fields that take them: by name first, then by alias."""
    written = [field["name"] for field in writer["fields"]]
    sources = {field["name"]: field for field in reader["fields"] if field["name"] in written}
    for field in reader["fields"]:
        if field["name"] not in sources:
            alias = next((a for a in field.get("aliases", ()) if a in written and a not in sources), None)
            if alias is not None:
                sources[alias] = field
    return sources


def _match_primitive(writer: Schema, reader: Schema, path: str) -> Scalar:
    wire, wanted = writer["type"], reader["type"]
    if wire != wanted and wanted not in PROMOTIONS.get(wire, ()):
        raise _NoMatch(path, f"{wire} was written, {wanted} is wanted")
    units = {writer.get("logicalType"), reader.get("logicalType")} & TIMESTAMPS
    if len(units) == 2:
        raise _NoMatch(path, f"{writer['logicalType']} was written, {reader['logicalType']} is wanted")
    logical = reader.get("logicalType")
    return Scalar(wire, wanted, logical if LOGICAL_TYPES.get(logical) == wanted else None)


def _match_fixed(writer: Schema, reader: Schema, path: str) -> Fixed:
    if writer["size"] != reader["size"]:
        found = f"fixed of {writer['size']} bytes was written, of {reader['size']} is wanted"
        raise _NoMatch(path, found)
    return Fixed(writer["size"])


def _match_enum(writer: Schema, reader: Schema) -> Enum:
    symbols = tuple(reader["symbols"])
    default = symbols.index(reader["default"]) if "default" in reader else -1
    index = {symbol: i for i, symbol in enumerate(symbols)}
    return Enum(symbols, tuple(index.get(symbol, default) for symbol in writer["symbols"]))


def _same_name(writer: Schema, reader: Schema) -> bool:
    """Named types match by unqualified name; the reader's aliases count as its names."""
    if "name" not in writer or writer["type"] in ("array", "map"):
        return True
    name = writer["name"].rpartition(".")[2]
    return any(name == known.rpartition(".")[2] for known in (reader["name"], *reader.get("aliases", ())))


def _name(schema: Schema) -> str:
    if isinstance(schema, list):
        return "a union"
    return f"{schema['type']} {schema['name']}" if "name" in schema else str(schema["type"])

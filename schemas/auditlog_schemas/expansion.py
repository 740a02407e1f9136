"""Expanding an Avro schema: references become the definitions they name, and what is invalid is refused.

Source: Apache Avro 1.12 specification, "Schema Declaration" and "Names". Bounded on purpose, since a schema
may come from a registry that others write to: definitions may be shared, so a few lines of schema can stand
for a tree of any size.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from auditlog_schemas.errors import SchemaIncompatible

Schema: TypeAlias = Any
"""A schema as `json.loads` gives it: a name, a list (union) or a dict."""

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
DEPTH_MAX: Final = 32
"""How deep types may lie inside each other."""
TYPES_MAX: Final = 10_000
"""How many types a schema may have, a named one counted at each place that uses it."""
UNION_BRANCHES_MAX: Final = 127
"""As many as Arrow's unions can tell apart."""
FIXED_BYTES_MAX: Final = 1 << 20
_PRIMITIVE_ATTRIBUTES: Final = ("type", "logicalType", "precision", "scale")
_WRAPPINGS_MAX: Final = 4 * DEPTH_MAX


def expand(schema: Schema, side: str) -> Schema:
    """Return the schema as nested dicts and lists without references; names are full names.

    Equal references give the same object.

    Args:
        schema: as `json.loads` gives it.
        side: whose schema it is, for messages.

    Raises:
        SchemaIncompatible: it is invalid, recursive, too deep or too large; the message names the path.
    """
    return _Expansion(side).expand(schema, "", "", 0)


class _Expansion:
    """One schema's expansion: the names known so far and the extent of each expanded type."""

    def __init__(self, side: str) -> None:
        self._side = side
        self._known: dict[str, Schema | None] = {}
        # Keyed by identity; the expanded types are kept alive by `_kept`.
        self._extents: dict[int, tuple[int, int]] = {}
        self._kept: list[Schema] = []

    def expand(self, schema: Schema, space: str, path: str, wrappings: int) -> Schema:
        """Expand a type that stands at `path` inside the namespace `space`."""
        if wrappings > _WRAPPINGS_MAX:
            raise self._refusal(path, f"nested deeper than {DEPTH_MAX} levels")
        inner = wrappings + 1
        if isinstance(schema, list):
            return self._union(schema, space, path, inner)
        if isinstance(schema, str):
            return self._named(schema, space, path)
        if not isinstance(schema, dict):
            raise self._refusal(path, f"{_shown(schema)} is no type: that is a name, a list or an object")
        kind = self._attribute(schema, "type", (str, dict, list), path)
        if isinstance(kind, (dict, list)):
            return self.expand(kind, space, path, inner)
        if kind in PRIMITIVES:
            self._optional(schema, "logicalType", "", path)
            kept = {name: schema[name] for name in _PRIMITIVE_ATTRIBUTES if name in schema}
            return self._measured(kept, [], path)
        if kind == "array":
            items = self.expand(self._attribute(schema, "items", object, path), space, f"{path}[]", inner)
            return self._measured({"type": "array", "items": items}, [items], path)
        if kind == "map":
            values = self.expand(self._attribute(schema, "values", object, path), space, f"{path}{{}}", inner)
            return self._measured({"type": "map", "values": values}, [values], path)
        if kind in ("record", "enum", "fixed"):
            return self._definition(schema, space, path, inner)
        return self._named(kind, space, path)

    def _named(self, name: str, space: str, path: str) -> Schema:
        if name in PRIMITIVES:
            return self._measured({"type": name}, [], path)
        for full in (_full_name(name, space), name):
            if full in self._known:
                found = self._known[full]
                if found is None:
                    raise self._refusal(path, f"{full} contains itself; recursion is refused")
                return found
        raise self._refusal(path, f"unknown type {name!r:.80}")

    def _union(self, branches: list[Schema], space: str, path: str, wrappings: int) -> Schema:
        if len(branches) > UNION_BRANCHES_MAX:
            raise self._refusal(path, f"a union has at most {UNION_BRANCHES_MAX} branches")
        expanded = [self.expand(branch, space, path, wrappings) for branch in branches]
        if not expanded or any(isinstance(branch, list) for branch in expanded):
            raise self._refusal(path, "a union needs branches, and none of them a union")
        kinds = [branch.get("name", branch["type"]) for branch in expanded]
        if len(set(kinds)) < len(kinds):
            raise self._refusal(path, f"a union has two branches of one type: {', '.join(kinds)}")
        return self._measured(expanded, expanded, path)

    def _definition(self, schema: Schema, space: str, path: str, wrappings: int) -> Schema:
        space = self._optional(schema, "namespace", space, path)
        name = _full_name(self._attribute(schema, "name", str, path), space)
        if name in self._known or name in PRIMITIVES:
            raise self._refusal(path, f"{name} is defined twice")
        self._known[name] = None
        named = schema | {"name": name, "aliases": self._aliases(schema, path)}
        inside: list[Schema] = []
        if schema["type"] == "record":
            fields = self._attribute(schema, "fields", list, path)
            named["fields"] = self._fields(fields, name.rpartition(".")[0], path, wrappings)
            inside = [field["type"] for field in named["fields"]]
        elif schema["type"] == "enum":
            self._check_enum(schema, path)
        elif not 0 <= self._attribute(schema, "size", int, path) <= FIXED_BYTES_MAX:
            raise self._refusal(path, f"a fixed has 0 to {FIXED_BYTES_MAX:,} bytes, not {schema['size']}")
        self._known[name] = self._measured(named, inside, path)
        return named

    def _fields(self, fields: list[Schema], space: str, path: str, wrappings: int) -> list[Schema]:
        if len(fields) > TYPES_MAX:
            raise self._refusal(path, f"has more than {TYPES_MAX:,} fields")
        names: set[str] = set()
        expanded = []
        for number, field in enumerate(fields):
            if not isinstance(field, dict):
                raise self._refusal(path, f"field {number}: {_shown(field)} is no field: that is an object")
            name = self._attribute(field, "name", str, f"{path or 'the top'}, field {number}")
            if name in names:
                raise self._refusal(path, f"a record has two fields of one name, {name!r:.80}")
            names.add(name)
            place = f"{path}.{name}".lstrip(".")
            type = self.expand(self._attribute(field, "type", object, place), space, place, wrappings)
            expanded.append(field | {"type": type, "aliases": self._aliases(field, place)})
        return expanded

    def _aliases(self, schema: Schema, path: str) -> list[str]:
        aliases: list[str] = self._optional(schema, "aliases", [], path)
        if not all(isinstance(alias, str) for alias in aliases):
            raise self._refusal(path, "aliases are names")
        return aliases

    def _check_enum(self, schema: Schema, path: str) -> None:
        symbols = self._attribute(schema, "symbols", list, path)
        named = all(isinstance(symbol, str) for symbol in symbols)
        if not named or not symbols or len(set(symbols)) < len(symbols):
            raise self._refusal(path, "an enum needs symbols, each of them once")
        if "default" in schema and schema["default"] not in symbols:
            found = _shown(schema["default"])
            raise self._refusal(path, f"the enum's default, {found}, is none of its symbols")

    def _attribute(self, schema: Schema, name: str, wanted: type | tuple[type, ...], path: str) -> Any:
        if name not in schema:
            raise self._refusal(path, f"{name!r} is missing")
        found = schema[name]
        if not isinstance(found, wanted) or (wanted is int and isinstance(found, bool)):
            raise self._refusal(path, f"{name!r} cannot be {_shown(found)}")
        return found

    def _optional(self, schema: Schema, name: str, default: Any, path: str) -> Any:
        if schema.get(name) is None:
            return default
        return self._attribute(schema, name, type(default), path)

    def _measured(self, schema: Schema, inside: list[Schema], path: str) -> Schema:
        """Note how deep and how large an expanded type is, and return it."""
        extents = [self._extents[id(part)] for part in inside]
        depth = 1 + max((depth for depth, _ in extents), default=0)
        types = 1 + sum(types for _, types in extents)
        if depth > DEPTH_MAX:
            raise self._refusal(path, f"nested deeper than {DEPTH_MAX} levels")
        if types > TYPES_MAX:
            raise self._refusal(path, f"has more than {TYPES_MAX:,} types when its names are written out")
        self._extents[id(schema)] = (depth, types)
        self._kept.append(schema)
        return schema

    def _refusal(self, path: str, reason: str) -> SchemaIncompatible:
        return SchemaIncompatible(f"{self._side}'s schema at {path or 'the top':.200}: {reason:.400}")


def _full_name(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return "an object" if isinstance(value, dict) else "a list"
    return f"{value!r:.80}"

"""Walkers over records, arrays, maps and unions, and the choice of a walker for a plan."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from auditlog_schemas.columnar_arrow import Column, buffer, dictionary_codes, from_buffers, keep, take
from auditlog_schemas.columnar_blocks import Blocks
from auditlog_schemas.columnar_chunk import Chunk
from auditlog_schemas.columnar_cursor import Lane, Longs
from auditlog_schemas.columnar_scalars import (
    LOGICAL_TYPES,
    TYPES,
    Booleans,
    Build,
    Enums,
    Fixeds,
    Floats,
    Integers,
    Nulls,
    Walker,
)
from auditlog_schemas.columnar_text import OptionalTexts, Texts, Uuids
from auditlog_schemas.columnar_union import Unions
from auditlog_schemas.plan import Array, Enum, Fixed, Map, Node, Record, Scalar, Union, wire_bytes_min
from auditlog_schemas.strict import CONTENT_RULES, Cursor, reader_of

DUPLICATE_MAP_KEY_RANK = CONTENT_RULES.index("duplicate_map_key")

_STRING = Scalar("string", "string")


def walker_of(node: Node) -> Walker:
    """Return the walker of a plan."""
    match node:
        case Scalar():
            return _scalar_walker(node)
        case Fixed():
            return Fixeds(node)
        case Enum():
            return Enums(node)
        case Array():
            return Arrays(node)
        case Map():
            return Maps(node)
        case Union():
            return _union_walker(node)
        case Record():
            return Records(node)


def _scalar_walker(node: Scalar) -> Walker:
    if node.wire in ("string", "bytes"):
        return Uuids() if node.logical == "uuid" else Texts(node.type)
    type_ = TYPES[node.type] if node.logical is None else LOGICAL_TYPES[node.logical]
    if node.wire == "null":
        return Nulls()
    if node.wire == "boolean":
        return Booleans()
    if node.wire in ("float", "double"):
        return Floats(node.wire, type_)
    return Integers(node.wire, type_)


def _union_walker(node: Union) -> Walker:
    branches = [None if branch is None else walker_of(branch) for branch in node.branches]
    texts = [(i, walker) for i, walker in enumerate(branches) if isinstance(walker, Texts)]
    nulls = [branch for branch in node.branches if isinstance(branch, Scalar) and branch.wire == "null"]
    if node.tagged and len(node.branches) == 2 and len(node.reader) == 2 and texts and nulls:
        return OptionalTexts(texts[0][1], texts[0][0])
    return Unions(node, branches, [walker_of(branch).type for branch in node.reader])


class Records:
    """Fields in the order of the wire, given in the order of the reader."""

    def __init__(self, node: Record) -> None:
        self._steps = [(step.name, walker_of(step.node)) for step in node.steps]
        self._defaults = {default.name: _constant(default.node, default.wire) for default in node.defaults}
        types = {name: walker.type for name, walker in self._steps}
        types |= {name: value.type for name, value in self._defaults.items()}
        self._fields = node.fields
        self.type: pa.DataType = pa.struct([(name, types[name]) for name in node.fields])

    def skip(self, lane: Lane) -> None:
        """Pass all fields."""
        for _, walker in self._steps:
            walker.skip(lane)

    def read(self, lane: Lane) -> Build:
        """Return structs; fields that the reader lacks are read too, since their content is checked."""
        count = len(lane)
        builds: dict[str, Build] = {}
        unwanted: list[Build] = []
        for name, walker in self._steps:
            if name is None:
                unwanted.append(walker.read(lane))
            else:
                builds[name] = walker.read(lane)

        def build() -> Column:
            for skipped in unwanted:
                skipped()
            built = {name: make() for name, make in builds.items()}
            repeated = np.zeros(count, np.int32)
            built |= {name: take(value, repeated) for name, value in self._defaults.items()}
            children = [built[name] for name in self._fields]
            return from_buffers(self.type, count, [None], children)

        return build


def _constant(node: Node, wire: bytes) -> Column:
    """Return a default value as a column of one row."""
    chunk = Chunk.of([wire], np.array([len(wire)]), np.zeros(1, np.int16))
    return walker_of(node).read(chunk.lane(np.zeros(1, np.int64), 0))()


class Arrays:
    """Blocks of items."""

    def __init__(self, node: Array) -> None:
        self._item = walker_of(node.items)
        self._blocks = Blocks(self._item, reader_of(node.items, ""), wire_bytes_min(node.items))
        self.type: pa.DataType = pa.list_(self._item.type)

    def skip(self, lane: Lane) -> None:
        """Pass all blocks."""
        self._blocks.skip(lane)

    def read(self, lane: Lane) -> Build:
        """Return lists."""
        items = self._blocks.find(lane)
        build_items = self._item.read(items.lane)
        offsets = buffer(items.offsets)
        return lambda: from_buffers(self.type, len(items.offsets) - 1, [None, offsets], [build_items()])


class _Entries:
    """One key and value of a map."""

    def __init__(self, key: Texts, value: Walker) -> None:
        self.key = key
        self.value = value

    def skip(self, lane: Lane) -> None:
        """Pass a key and a value."""
        self.key.skip(lane)
        self.value.skip(lane)


class Maps:
    """Blocks of keys and values; no key twice in one map."""

    def __init__(self, node: Map) -> None:
        self._entry = _Entries(Texts("string"), walker_of(node.values))
        read_key, read_value = reader_of(_STRING, ""), reader_of(node.values, "")

        def read_one(cursor: Cursor) -> None:
            read_key(cursor)
            read_value(cursor)

        self._blocks = Blocks(self._entry, read_one, 1 + wire_bytes_min(node.values))
        map_type = pa.map_(pa.string(), self._entry.value.type)
        self._entries = pa.struct([map_type.key_field, map_type.item_field])
        self.type: pa.DataType = map_type

    def skip(self, lane: Lane) -> None:
        """Pass all blocks."""
        self._blocks.skip(lane)

    def read(self, lane: Lane) -> Build:
        """Return maps; those with a key twice are noted."""
        items = self._blocks.find(lane)
        build_keys = self._entry.key.read(items.lane)
        build_values = self._entry.value.read(items.lane)
        rows, chunk = lane.rows, lane.chunk

        def build() -> Column:
            keys, values = build_keys(), build_values()
            twice = _with_a_key_twice(keys, np.diff(items.offsets))
            if len(twice):
                chunk.flaw(rows[twice], DUPLICATE_MAP_KEY_RANK)
            entries = from_buffers(self._entries, len(keys), [None], [keys, values])
            return from_buffers(self.type, len(rows), [None, buffer(items.offsets)], [entries])

        return build


def _with_a_key_twice(keys: Column, counts: Longs) -> Longs:
    """Return the maps in which a key stands twice, given all maps' keys and how many each has."""
    if not len(counts) or counts.max() < 2:
        return np.empty(0, np.int64)
    several = np.repeat(counts > 1, counts)
    map_of_key = np.repeat(np.arange(len(counts)), counts)[several]
    codes, distinct = dictionary_codes(keep(keys.view(pa.binary()), several))
    both = np.sort(map_of_key * distinct + codes)
    return np.unique(both[1:][both[1:] == both[:-1]] // distinct)

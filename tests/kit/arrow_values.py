"""Arrow columns and strict values in one comparable form."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any
from uuid import UUID

import pyarrow as pa

from auditlog_schemas.columnar_arrow import Column
from auditlog_schemas.plan import Array, Map, Node, Record, Scalar, Union
from auditlog_schemas.strict import is_uuid


def values_of(node: Node, array: Column) -> list[Any]:
    """Return a decoded column as the strict decoder would give its values; NaN and uuids as `comparable`."""
    valid = array.is_valid().to_pylist()
    return [item if ok else None for item, ok in zip(_values(node, array), valid, strict=True)]


def _values(node: Node, array: Column) -> list[Any]:
    match node:
        case Record(fields=fields, steps=steps, defaults=defaults):
            assert isinstance(array, pa.StructArray)
            nodes = {step.name: step.node for step in steps} | {d.name: d.node for d in defaults}
            # Not `flatten`: Arrow aborts on a struct with nulls and a union inside.
            children = [values_of(nodes[name], array.field(i)) for i, name in enumerate(fields)]
            rows = zip(*children, strict=True) if children else (() for _ in range(len(array)))
            return [dict(zip(fields, row, strict=True)) for row in rows]
        case Array(items=items):
            assert isinstance(array, pa.ListArray)
            return _pieces(array.offsets.to_numpy().tolist(), values_of(items, array.values))
        case Map(values=values):
            assert isinstance(array, pa.MapArray)
            keys, items_ = array.keys.to_pylist(), values_of(values, array.items)
            pairs = list(zip(keys, items_, strict=True))
            return [dict(piece) for piece in _pieces(array.offsets.to_numpy().tolist(), pairs)]
        case Union():
            return _union_values(node, array)
        case Scalar(logical="uuid"):
            return [None if item is None else str(UUID(bytes=item)) for item in array.to_pylist()]
        case Scalar(type="long"):
            return array.cast(pa.int64()).to_pylist()
        case _:
            return [comparable(item) for item in array.to_pylist()]


def _union_values(node: Union, array: Column) -> list[Any]:
    branches = node.reader or tuple(branch for branch in node.branches if branch is not None)[:1]
    if isinstance(array, pa.UnionArray):
        children = [values_of(branch, array.field(i)) for i, branch in enumerate(branches)]
        places = zip(array.type_codes.to_numpy(), array.offsets.to_numpy(), strict=True)
        return [children[code][offset] for code, offset in places]
    inner = [branch for branch in branches if branch != Scalar("null", "null")]
    return values_of(inner[0], array) if inner else [None] * len(array)


def _pieces(offsets: list[int], items: list[Any]) -> list[list[Any]]:
    return [items[first:stop] for first, stop in pairwise(offsets)]


def comparable(value: Any) -> Any:
    """Return a strict value with NaN as text and uuids in lower case."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, str) and is_uuid(value):
        return value.lower()
    return value

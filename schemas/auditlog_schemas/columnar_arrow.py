"""The few Arrow calls that the columnar decoder is made of, with types that hold for every column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Column: TypeAlias = "pa.Array[Any]"
Numbers: TypeAlias = npt.NDArray[Any]

# The stubs tell every kind of array apart; here one function serves them all.
_pa: Any = pa


def buffer(values: Numbers) -> pa.Buffer:
    """Return an array's memory as a buffer, without copying it."""
    found: pa.Buffer = _pa.py_buffer(values)
    return found


def bits(flags: Numbers) -> pa.Buffer:
    """Return flags as a bitmap."""
    return buffer(np.packbits(flags, bitorder="little"))


def from_buffers(
    type_: pa.DataType, count: int, buffers: Sequence[pa.Buffer | None], children: Sequence[Column] = ()
) -> Column:
    """Return a column over these buffers, the validity bitmap first, and over its children."""
    found: Column = _pa.Array.from_buffers(type_, count, list(buffers), children=list(children))
    return found


def fixed_width(type_: pa.DataType, values: Numbers) -> Column:
    """Return numbers, or equally long pieces of bytes, as a column, without copying them."""
    return from_buffers(type_, len(values), [None, buffer(values)])


def buffers_of(column: Column) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Return the offsets of a binary or string column, one more than it has rows, and its bytes."""
    if not len(column):
        return np.zeros(1, np.int32), np.empty(0, np.uint8)
    parts: list[Any] = [b"" if part is None else part for part in column.buffers()]
    first, stop = column.offset, column.offset + len(column) + 1
    return np.frombuffer(parts[1], np.int32)[first:stop], np.frombuffer(parts[2], np.uint8)


def nulls(count: int, type_: pa.DataType) -> Column:
    """Return a column of nulls."""
    found: Column = _pa.nulls(count, type_)
    return found


def take(column: Column, indexes: Numbers, missing: Numbers | None = None) -> Column:
    """Return the rows at `indexes`, null where `missing` is set."""
    found: Column = column.take(_pa.array(indexes, mask=missing))
    return found


def keep(column: Column, flags: Numbers) -> Column:
    """Return the rows whose flag is set."""
    found: Column = column.filter(_pa.array(flags))
    return found


def concat(columns: Sequence[Column]) -> Column:
    """Return columns of one type behind each other."""
    return columns[0] if len(columns) == 1 else _pa.concat_arrays(list(columns))


def dictionary(indexes: Numbers, values: Column) -> Column:
    """Return a dictionary column; the indexes have been checked."""
    found: Column = _pa.DictionaryArray.from_arrays(_pa.array(indexes), values, safe=False)
    return found


def dictionary_codes(column: Column) -> tuple[npt.NDArray[np.int64], int]:
    """Return one number for each row, equal for equal rows, and how many different ones there are."""
    encoded: Any = column.dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def dense_union(types: Numbers, offsets: Numbers, type_: pa.DataType, children: Sequence[Column]) -> Column:
    """Return a dense union: row i is child ``types[i]`` at ``offsets[i]``."""
    names = [_pa_field.name for _pa_field in _fields(type_)]
    found: Column = _pa.UnionArray.from_dense(_pa.array(types), _pa.array(offsets), list(children), names)
    return found


def _fields(type_: Any) -> list[Any]:
    return list(type_)

"""Walkers over values of a simple type: numbers, enums, fixed.

A walker skips one value at each cursor of a lane, or reads it and returns a function that builds the
column. Building comes later because all strings of a chunk are copied together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from auditlog_schemas.columnar_arrow import Column, bits, dictionary, fixed_width, from_buffers, nulls
from auditlog_schemas.columnar_cursor import PADDING, Lane, Longs
from auditlog_schemas.plan import Enum, Fixed
from auditlog_schemas.verdicts import DECODE_VERDICTS

Build: TypeAlias = Callable[[], Column]

FIXED_WIDTH_BYTES_MAX: Final = len(PADDING)
"""A fixed of more bytes becomes a binary column: in a fixed-size one a null takes as much as a value."""

TYPES: Final[dict[str, pa.DataType]] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
LOGICAL_TYPES: Final[dict[str, pa.DataType]] = {
    "uuid": pa.binary(16),
    "timestamp-millis": pa.timestamp("ms", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
}
_INT_OUT_OF_RANGE: Final = DECODE_VERDICTS["int_out_of_range"]
_BAD_BOOLEAN: Final = DECODE_VERDICTS["bad_boolean"]
_ENUM_INDEX_OUT_OF_RANGE: Final = DECODE_VERDICTS["enum_index_out_of_range"]
_UNRESOLVABLE_VALUE: Final = DECODE_VERDICTS["unresolvable_value"]


class Walker(Protocol):
    """Reads values of one type; `type` is the column's."""

    type: pa.DataType

    def skip(self, lane: Lane) -> None:
        """Pass one value at each cursor, checking its structure."""

    def read(self, lane: Lane) -> Build:
        """Pass one value at each cursor and return what builds their column, in the lane's order."""


class Nulls:
    """Nulls take no bytes."""

    type = TYPES["null"]

    def skip(self, lane: Lane) -> None:
        """Do nothing."""

    def read(self, lane: Lane) -> Build:
        """Return nulls."""
        count = len(lane)
        return lambda: nulls(count, pa.null())


class Booleans:
    """One byte, 0 or 1."""

    type = TYPES["boolean"]

    def skip(self, lane: Lane) -> None:
        """Check and pass the byte."""
        self._bytes(lane)

    def read(self, lane: Lane) -> Build:
        """Return booleans."""
        values = self._bytes(lane)
        return lambda: from_buffers(self.type, len(values), [None, bits(values & 1)])

    def _bytes(self, lane: Lane) -> npt.NDArray[np.uint8]:
        values = lane.byte()
        lane.advance(1)
        bad = (values > 1) & lane.alive()
        if bad.any():
            lane.fail(bad, _BAD_BOOLEAN)
        return values


class Integers:
    """Zig-zag numbers, read as the wider type that the reader asks for."""

    def __init__(self, wire: str, type_: pa.DataType) -> None:
        self._narrow = wire == "int"
        self.type = type_

    def skip(self, lane: Lane) -> None:
        """Check and pass the number."""
        self._numbers(lane)

    def read(self, lane: Lane) -> Build:
        """Return numbers."""
        values: npt.NDArray[Any] = self._numbers(lane)
        if pa.types.is_floating(self.type):
            # By way of a double, as the strict decoder rounds.
            values = values.astype(np.float64)
        if self.type.bit_width == 32:
            values = values.astype(np.float32 if pa.types.is_floating(self.type) else np.int32)
        return lambda: fixed_width(self.type, values)

    def _numbers(self, lane: Lane) -> Longs:
        values = lane.long()
        if self._narrow:
            wide = values != values.astype(np.int32)
            if wide.any():
                lane.fail(wide, _INT_OUT_OF_RANGE)
                values[wide] = 0
        return values


class Floats:
    """IEEE 754 numbers of 4 or 8 little-endian bytes."""

    def __init__(self, wire: str, type_: pa.DataType) -> None:
        self._size = 4 if wire == "float" else 8
        self._wide = type_ == pa.float64()
        self.type = type_

    def skip(self, lane: Lane) -> None:
        """Pass the bytes."""
        lane.advance(self._size)

    def read(self, lane: Lane) -> Build:
        """Return numbers."""
        raw = lane.chunk.raw
        at_each_byte = np.ndarray((len(raw) - self._size + 1,), f"<f{self._size}", raw, strides=(1,))
        values = at_each_byte[lane.pass_over(self._size)]
        with np.errstate(invalid="ignore"):  # A signalling NaN is a value like any other.
            wanted = values.astype(np.float64) if self._wide else values
        return lambda: fixed_width(self.type, wanted)


class Fixeds:
    """A fixed number of bytes."""

    def __init__(self, node: Fixed) -> None:
        self._size = node.size
        self.type: pa.DataType = pa.binary(node.size if node.size <= FIXED_WIDTH_BYTES_MAX else -1)

    def skip(self, lane: Lane) -> None:
        """Pass the bytes."""
        lane.advance(self._size)

    def read(self, lane: Lane) -> Build:
        """Return the bytes."""
        if self._size <= FIXED_WIDTH_BYTES_MAX:
            return self._read_small(lane)
        lane.advance(self._size)
        stop = lane.pos
        start = np.where(lane.alive(), stop - self._size, stop)
        blobs = lane.chunk.blobs
        group = blobs.add(start, stop, lane.rows)
        return lambda: blobs.group(group, self.type)

    def _read_small(self, lane: Lane) -> Build:
        raw, count, size = lane.chunk.raw, len(lane), self._size
        start = lane.pass_over(size)
        if not size:
            return lambda: from_buffers(self.type, count, [None, pa.py_buffer(b"")])
        at_each_byte = np.ndarray((len(raw) - size + 1,), f"V{size}", raw, strides=(1,))
        values = at_each_byte[start]
        return lambda: fixed_width(self.type, values)


class Enums:
    """Indexes of the writer's symbols, as those of the reader's."""

    def __init__(self, node: Enum) -> None:
        self._symbols: Column = pa.array(list(node.symbols), pa.string())
        self._mapping = np.array(node.mapping, np.int32)
        self.type: pa.DataType = pa.dictionary(pa.int32(), pa.string())

    def skip(self, lane: Lane) -> None:
        """Check and pass the index."""
        self._indexes(lane)

    def read(self, lane: Lane) -> Build:
        """Return symbols as a dictionary column."""
        indexes = self._indexes(lane)
        return lambda: dictionary(indexes, self._symbols)

    def _indexes(self, lane: Lane) -> npt.NDArray[np.int32]:
        number = lane.long()
        outside = number.view(np.uint64) >= len(self._mapping)
        if outside.any():
            lane.fail(outside, _ENUM_INDEX_OUT_OF_RANGE)
            number[outside] = 0
        found = self._mapping[number]
        unknown = found < 0
        if unknown.any():
            lane.fail(unknown, _UNRESOLVABLE_VALUE)
            found[unknown] = 0
        return found

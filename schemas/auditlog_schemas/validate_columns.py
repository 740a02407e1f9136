"""The columns that rules look at: found by their paths, with what the tests need to know of each.

Paths are those of `auditlog_schemas.rules`. A list's or map's items are one long column; `owner` tells
the row of each.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from auditlog_schemas.columnar_arrow import Column, buffers_of

Flags = npt.NDArray[np.bool_]
Longs = npt.NDArray[np.int64]


class Strings:
    """A string column, or the items of one."""

    def __init__(self, column: Column, owner: Longs | None = None) -> None:
        self.column = column
        self._owner = owner

    @cached_property
    def offsets(self) -> npt.NDArray[np.int32]:
        """Where each string starts in `data`, and where the last one stops."""
        offsets, _ = buffers_of(self.column)
        return offsets

    @cached_property
    def lengths(self) -> npt.NDArray[np.int32]:
        """How many bytes each string has; what it says of nulls means nothing."""
        return np.diff(self.offsets)

    @cached_property
    def data(self) -> npt.NDArray[np.uint8]:
        """The bytes of all strings, from the first one's start to the last one's stop."""
        _, data = buffers_of(self.column)
        return data[self.offsets[0] : self.offsets[-1]]

    def rows(self, broken: Flags) -> Longs:
        """Return the rows of broken strings, nulls left out; a row with several stands there as often."""
        if self.column.null_count:
            broken = broken & np.asarray(self.column.is_valid())
        return self.rows_at(np.flatnonzero(broken))

    def rows_at(self, index: Longs) -> Longs:
        """Return the rows of the strings at `index`."""
        return index if self._owner is None else self._owner[index]


class EventColumns:
    """The columns of a batch of events by path; each is looked up once."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self._strings: dict[str, Strings] = {}
        self._owners: dict[str, Longs] = {}

    def __len__(self) -> int:
        return self._batch.num_rows

    def strings(self, path: str) -> Strings:
        """Return the string column, or the items' strings, of a path."""
        if path not in self._strings:
            self._strings[path] = self._find(path)
        return self._strings[path]

    def counts(self, name: str) -> npt.NDArray[np.int32]:
        """Return how many items each row of a list or map has."""
        return np.diff(_list_offsets(self._batch.column(name)))

    def numbers(self, path: str) -> Longs:
        """Return a column of integers or timestamps."""
        outer, _, inner = path.partition(".")
        column: Any = self._batch.column(outer)
        found = column.field(inner) if inner else column
        return found.cast(pa.int64()).to_numpy()  # type: ignore[no-any-return]

    def _find(self, path: str) -> Strings:
        if path.endswith("}"):
            name, side = path[:-1].split("{")
            column: Any = self._batch.column(name)
            return self._items(name, column.keys if side == "key" else column.items)
        if "[]." in path:
            name, inner = path.split("[].")
            column = self._batch.column(name)
            return self._items(name, column.values.field(inner))
        name, _, inner = path.partition(".")
        column = self._batch.column(name)
        return Strings(column.field(inner) if inner else column)

    def _items(self, name: str, items: Column) -> Strings:
        offsets = _list_offsets(self._batch.column(name))
        if name not in self._owners:
            self._owners[name] = np.repeat(np.arange(len(self)), np.diff(offsets))
        first, stop = int(offsets[0]), int(offsets[-1])
        return Strings(items.slice(first, stop - first), self._owners[name])


def _list_offsets(column: Any) -> npt.NDArray[np.int32]:
    offsets: npt.NDArray[np.int32] = column.offsets.to_numpy()
    return offsets

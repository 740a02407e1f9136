"""Walker over unions: each branch is read by the cursors that took it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from auditlog_schemas.columnar_arrow import Column, concat, dense_union, nulls, take
from auditlog_schemas.columnar_cursor import Lane, Longs
from auditlog_schemas.columnar_scalars import Build, Walker
from auditlog_schemas.plan import Union
from auditlog_schemas.verdicts import DECODE_VERDICTS

_UNION_INDEX_OUT_OF_RANGE: Final = DECODE_VERDICTS["union_index_out_of_range"]
_UNRESOLVABLE_VALUE: Final = DECODE_VERDICTS["unresolvable_value"]


class Unions:
    """A union becomes a nullable column when the reader's has one type besides null, else a dense union.

    Args:
        node: the plan.
        branches: walkers of its branches, None where the reader has no type for one.
        reader_types: the types of the reader's branches, empty when the reader has no union.
    """

    def __init__(
        self, node: Union, branches: Sequence[Walker | None], reader_types: Sequence[pa.DataType]
    ) -> None:
        self._branches = branches
        self._tagged = node.tagged
        self._targets = node.targets or (0,) * len(branches)
        self._types = list(reader_types) or [next(b.type for b in branches if b is not None)]
        values = [type_ for type_ in self._types if not pa.types.is_null(type_)]
        self._dense = len(values) > 1
        if self._dense:
            names = [str(index) for index in range(len(self._types))]
            fields = [pa.field(name, type_) for name, type_ in zip(names, self._types, strict=True)]
            self.type: pa.DataType = pa.dense_union(fields)
        else:
            self.type = values[0] if values else pa.null()

    def skip(self, lane: Lane) -> None:
        """Pass the branch's number and its value."""
        for walker, _, index, part in self._taken(lane):
            walker.skip(part)
            if part is not lane:
                lane.put_back(index, part)

    def read(self, lane: Lane) -> Build:
        """Return the values of all branches."""
        parts: list[tuple[int, Longs, Build]] = []
        for walker, target, index, part in self._taken(lane):
            parts.append((target, index, walker.read(part)))
            if part is not lane:
                lane.put_back(index, part)
        count = len(lane)
        assemble = self._dense_column if self._dense else self._nullable_column
        return lambda: assemble(count, [(target, index, build()) for target, index, build in parts])

    def _taken(self, lane: Lane) -> list[tuple[Walker, int, Longs, Lane]]:
        """Return each branch that some cursors took: its walker, the reader's branch, and the cursors."""
        if not self._tagged:
            assert self._branches[0] is not None
            return [(self._branches[0], self._targets[0], np.arange(len(lane)), lane)]
        number = lane.long()
        outside = number.view(np.uint64) >= len(self._branches)
        if outside.any():
            lane.fail(outside, _UNION_INDEX_OUT_OF_RANGE)
            number[outside] = 0
        taken: list[tuple[Walker, int, Longs, Lane]] = []
        for branch, walker in enumerate(self._branches):
            chosen = number == branch
            if not chosen.any():
                continue
            if walker is None:
                lane.fail(chosen, _UNRESOLVABLE_VALUE)
                continue
            index = np.flatnonzero(chosen)
            part = lane if len(index) == len(lane) else lane.part(index)
            taken.append((walker, self._targets[branch], index, part))
        return taken

    def _nullable_column(self, count: int, parts: list[tuple[int, Longs, Column]]) -> Column:
        values = [(index, array) for _, index, array in parts if array.type == self.type]
        if not values or pa.types.is_null(self.type):
            return nulls(count, self.type)
        if len(values) == 1 and len(values[0][1]) == count:
            return values[0][1]
        place = np.full(count, -1, np.int32)
        first = 0
        for index, array in values:
            place[index] = np.arange(first, first + len(array))
            first += len(array)
        taken = concat([array for _, array in values])
        return take(taken, place, place < 0)

    def _dense_column(self, count: int, parts: list[tuple[int, Longs, Column]]) -> Column:
        """Failed messages belong to no branch; they take a null of the first one."""
        children: list[list[Column]] = [[nulls(1, self._types[0])], *([] for _ in self._types[1:])]
        lengths = [1] + [0] * (len(self._types) - 1)
        types, offsets = np.zeros(count, np.int8), np.zeros(count, np.int32)
        for target, index, array in parts:
            types[index] = target
            offsets[index] = np.arange(lengths[target], lengths[target] + len(array))
            lengths[target] += len(array)
            children[target].append(array)
        columns = [
            concat(arrays) if arrays else nulls(0, type_)
            for arrays, type_ in zip(children, self._types, strict=True)
        ]
        return dense_union(types, offsets, self.type, columns)

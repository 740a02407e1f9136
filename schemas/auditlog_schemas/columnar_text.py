"""Walkers over strings: plain ones, ones that may be null, and UUIDs.

While the cursors walk, a string is no more than where it starts and stops; see
`auditlog_schemas.columnar_slices`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from auditlog_schemas.columnar_arrow import fixed_width, nulls
from auditlog_schemas.columnar_cursor import LENGTH_BEYOND_MESSAGE, TRUNCATED, Flags, Lane, Longs, any_bits
from auditlog_schemas.columnar_scalars import LOGICAL_TYPES, TYPES, Build
from auditlog_schemas.columnar_uuid import parse_uuids
from auditlog_schemas.strict import CONTENT_RULES
from auditlog_schemas.verdicts import DECODE_VERDICTS

_BAD_UUID_RANK: Final = CONTENT_RULES.index("bad_uuid")
_UNION_INDEX_OUT_OF_RANGE: Final = DECODE_VERDICTS["union_index_out_of_range"]


class Texts:
    """Strings and bytes; only strings have to be UTF-8."""

    def __init__(self, type_: str) -> None:
        self.type = TYPES[type_]
        self._is_text = type_ == "string"

    def skip(self, lane: Lane) -> None:
        """Check the length and pass the bytes."""
        lane.span()

    def read(self, lane: Lane) -> Build:
        """Return strings."""
        start, stop = lane.span()
        slices = lane.chunk.texts if self._is_text else lane.chunk.blobs
        group = slices.add(start, stop, lane.rows)
        return lambda: slices.group(group, self.type)


class OptionalTexts:
    """Unions of null and a string (or bytes): most fields of an event are such."""

    def __init__(self, text: Texts, text_branch: int) -> None:
        self.type = text.type
        self._text = text
        self._code = text_branch << 1
        self._branch = text_branch

    def skip(self, lane: Lane) -> None:
        """Pass the branch, and the string where there is one."""
        self._walk(lane, False)

    def read(self, lane: Lane) -> Build:
        """Return strings and nulls."""
        build = self._walk(lane, True)
        assert build is not None
        return build

    def _walk(self, lane: Lane, keep: bool) -> Build | None:
        present = self._present(lane)
        count = len(present)
        if not present.any():
            return (lambda: nulls(count, self.type)) if keep else None
        if present.all():
            if keep:
                return self._text.read(lane)
            self._text.skip(lane)
            return None
        start, stop = self._optional_span(lane, present)
        if not keep:
            return None
        slices = lane.chunk.texts if self._text.type == pa.string() else lane.chunk.blobs
        group = slices.add(start, stop, lane.rows)
        return lambda: slices.group(group, self.type, present)

    def _present(self, lane: Lane) -> Flags:
        """Pass the branches and tell where the string's was taken."""
        branch = lane.byte()
        if any_bits(branch) & 0xFD:
            number = lane.long()
            wrong = (number < 0) | (number > 1)
            if wrong.any():
                lane.fail(wrong, _UNION_INDEX_OUT_OF_RANGE)
            taken: Flags = (number == self._branch) & lane.alive()
            return taken
        lane.advance(1)
        present: Flags = branch == self._code
        return present & lane.alive() if lane.chunk.failures else present

    def _optional_span(self, lane: Lane, present: Flags) -> tuple[Longs, Longs]:
        """Return where the strings start and stop; those that are not there are empty."""
        first = lane.byte() * present
        if any_bits(first) & 0x81:
            index = np.flatnonzero(present)
            texts = lane.part(index)
            start = lane.pos.copy()
            start[index], _ = texts.span()
            lane.put_back(index, texts)
            return start, lane.pos
        start = lane.pos + present
        lane.pos = stop = start + (first >> 1)
        beyond = stop > lane.end
        if beyond.any():
            lane.fail(beyond & (start > lane.end), TRUNCATED)
            lane.fail(beyond & lane.alive(), LENGTH_BEYOND_MESSAGE)
            start[beyond] = lane.chunk.zeros
        return start, lane.pos


class Uuids:
    """Strings that are UUIDs, as 16 bytes, most significant first."""

    type = LOGICAL_TYPES["uuid"]

    def skip(self, lane: Lane) -> None:
        """Check the length and pass the bytes."""
        lane.span()

    def read(self, lane: Lane) -> Build:
        """Return UUIDs; those that are none are noted, and also when they are not even UTF-8."""
        start, stop = lane.span()
        values, bad = parse_uuids(lane.chunk.raw, start, stop - start)
        wrong = np.flatnonzero(bad)
        if len(wrong):
            lane.chunk.flaw(lane.rows[wrong], _BAD_UUID_RANK)
            lane.chunk.texts.add(start[wrong], stop[wrong], lane.rows[wrong])
        return lambda: fixed_width(self.type, values)

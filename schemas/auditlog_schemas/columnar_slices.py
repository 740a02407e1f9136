"""Slices: the strings of a chunk, remembered while the cursors walk and copied out together at the end.

One call of Arrow's `take` copies all strings of all columns. It reads pairs of 32-bit offsets: the starts
and stops of the slices stand in turns, so that every second "string" is a slice and the others are what
lies between two of them (and never looked at).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from auditlog_schemas.columnar_arrow import Column, bits, buffer, buffers_of, from_buffers, take

Longs = npt.NDArray[np.int64]

_TOP_BIT_OF_EACH = np.uint64(0x8080808080808080)


class Slices:
    """Byte ranges of one chunk, in groups: one group is one column's strings.

    Ranges must lie in the chunk: every caller has checked its own against their messages' ends.
    """

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._pairs = _borrow()
        self._firsts = [0]
        self._rows: list[Longs] = []
        self._copied: Column | None = None

    def add(self, start: Longs, stop: Longs, rows: Longs) -> int:
        """Remember the ranges of one column and the messages they lie in; return the group's number."""
        first = self._firsts[-1]
        end = first + len(start)
        if end >= len(self._pairs):
            self._pairs = np.concatenate([self._pairs, np.empty(max(end, len(self._pairs)), np.int64)])
        pairs = self._pairs[first:end]
        np.left_shift(stop, 32, out=pairs)
        np.bitwise_or(pairs, start, out=pairs)
        self._firsts.append(end)
        self._rows.append(rows)
        return len(self._rows) - 1

    def group(self, number: int, type_: pa.DataType, valid: npt.NDArray[np.bool_] | None = None) -> Column:
        """Return one group as a column of `type_` (binary or string), null where `valid` is not set.

        After the first call no more slices can be added.
        """
        offsets, data = buffers_of(self.copied())
        first, end = self._firsts[number : number + 2]
        own = buffer(offsets[first : end + 1])
        return from_buffers(type_, end - first, [None if valid is None else bits(valid), own, buffer(data)])

    def rows_without_utf8(self) -> Longs:
        """Return the messages that hold a slice that is not UTF-8, some perhaps more than once."""
        offsets, data = buffers_of(self.copied())
        data = data[: offsets[-1]]
        if _is_ascii(data) or (_is_utf8(data) and not _starts_inside_a_character(offsets, data)):
            return np.empty(0, np.int64)
        return np.concatenate(self._rows)[_broken_slices(offsets, data)]

    def copied(self) -> Column:
        """Return all slices, group after group, as one binary array."""
        if self._copied is None:
            count = self._firsts[-1]
            # From the last offset `take` guesses how much memory it will need.
            self._pairs[count] = len(self._raw)
            buffers = [None, buffer(self._pairs), pa.py_buffer(self._raw)]
            self._copied = take(from_buffers(pa.binary(), 2 * count, buffers), _even(count))
            _give_back(self._pairs)
        return self._copied


# Memory for the pairs is used again: new memory costs a page fault for every 4 KiB. Appending to a list
# and popping from it are atomic, so threads may share these.
_FREE_PAIRS: Final[list[Longs]] = []
_PAIRS_FIRST: Final = 1 << 16
_PAIRS_KEPT_MAX: Final = 1 << 21
_ARRAYS_KEPT_MAX: Final = 8
_EVENS: Final = [np.empty(0, np.int32)]


def _borrow() -> Longs:
    try:
        return _FREE_PAIRS.pop()
    except IndexError:
        return np.empty(_PAIRS_FIRST, np.int64)


def _give_back(pairs: Longs) -> None:
    if len(pairs) <= _PAIRS_KEPT_MAX and len(_FREE_PAIRS) < _ARRAYS_KEPT_MAX:
        _FREE_PAIRS.append(pairs)


def _even(count: int) -> npt.NDArray[np.int32]:
    """Return the first even numbers."""
    known = _EVENS[0]
    if count > len(known):
        known = np.arange(0, 4 * count, 2, dtype=np.int32)
        if len(known) <= _PAIRS_KEPT_MAX:
            _EVENS[0] = known
    return known[:count]


def _is_ascii(data: npt.NDArray[np.uint8]) -> bool:
    whole = len(data) // 8 * 8
    words = data[:whole].view(np.uint64)
    top = np.bitwise_or.reduce(words) & _TOP_BIT_OF_EACH if whole else np.uint64(0)
    return not top and not (data[whole:] >= 0x80).any()


def _is_utf8(data: npt.NDArray[np.uint8]) -> bool:
    """Check all slices as if they were one string."""
    offsets = buffer(np.array([0, len(data)], np.int32))
    try:
        from_buffers(pa.string(), 1, [None, offsets, buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _starts_inside_a_character(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]) -> bool:
    """Tell whether some slice begins with a byte that continues a character of the one before."""
    starts = offsets[:-1][offsets[:-1] < offsets[-1]]
    return bool(((data[starts] & 0xC0) == 0x80).any())


def _broken_slices(offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]) -> Longs:
    """Find the slices that are not UTF-8; only those with other bytes than ASCII are looked at."""
    other = np.flatnonzero(data >= 0x80)
    suspects = np.unique(np.searchsorted(offsets, other, side="right") - 1)
    raw = data.tobytes()
    return np.array(
        [i for i in suspects.tolist() if not _decodes(raw[offsets[i] : offsets[i + 1]])], np.int64
    )


def _decodes(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True

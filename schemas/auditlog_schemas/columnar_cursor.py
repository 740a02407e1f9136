"""Cursors: one position in each of many messages, all moved by one numpy call.

Source of the encoding: Apache Avro 1.12 specification, "Binary encoding". A cursor never passes its
message's end: every read checks it before the next one, and a message that breaks a rule is taken out by
setting its cursor on zeros behind the data. Zeros decode as anything (a length 0, a branch 0, an empty
block), so the others go on undisturbed and nothing has to be masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from auditlog_schemas.verdicts import DECODE_VERDICTS

if TYPE_CHECKING:
    from auditlog_schemas.columnar_chunk import Chunk

Bytes: TypeAlias = npt.NDArray[np.uint8]
Longs: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Verdicts: TypeAlias = npt.NDArray[np.int16]

PADDING: Final = bytes(64)
"""Zeros behind the joined messages: where dead cursors stand, and room for reads of a few bytes at once."""
FAR: Final = 1 << 62
"""The end of a dead cursor: it never runs out of zeros."""

TRUNCATED: Final = DECODE_VERDICTS["truncated"]
NEGATIVE_LENGTH: Final = DECODE_VERDICTS["negative_length"]
LENGTH_BEYOND_MESSAGE: Final = DECODE_VERDICTS["length_beyond_message"]
VARINT_TOO_LONG: Final = DECODE_VERDICTS["varint_too_long"]

_MORE: Final = np.uint64(0x8080808080808080)
_SEVEN_BITS: Final = np.uint64(0x7F7F7F7F7F7F7F7F)
_ONE: Final = np.uint64(1)
_SEVEN: Final = np.uint64(7)


class Lane:
    """The cursors of some of a chunk's messages, or of items within them.

    Attributes:
        pos: positions of the next byte to read.
        end: the ends of the cursors' messages.
        rows: the message of each cursor. Ascending; equal ones only among items.
        verified: the bytes have been walked before, so that budgets are not charged twice.
    """

    __slots__ = ("chunk", "end", "pos", "rows", "verified")

    def __init__(self, chunk: Chunk, pos: Longs, end: Longs, rows: Longs, verified: bool = False) -> None:
        self.chunk = chunk
        self.pos = pos
        self.end = end
        self.rows = rows
        self.verified = verified

    def __len__(self) -> int:
        return len(self.pos)

    def part(self, index: Longs) -> Lane:
        """Return the cursors at `index` as a lane of their own; `put_back` brings them home."""
        return Lane(self.chunk, self.pos[index], self.end[index], self.rows[index], self.verified)

    def put_back(self, index: Longs, part: Lane) -> None:
        """Move the cursors at `index` to where `part` went."""
        self.pos[index] = part.pos
        if self.chunk.failures:
            self.end[index] = part.end

    def fail(self, broken: Flags | Longs, verdict: int) -> None:
        """Take the messages of the chosen cursors out; a verdict they already have stays."""
        rows = self.rows[broken]
        known = self.chunk.verdict[rows]
        self.chunk.verdict[rows] = np.where(known == 0, np.int16(verdict), known)
        self.chunk.failures += len(rows)
        self.pos[broken] = self.chunk.zeros
        self.end[broken] = FAR

    def alive(self) -> Flags:
        """Tell which cursors still stand in their messages."""
        alive: Flags = self.end != FAR
        return alive

    def byte(self) -> Bytes:
        """Return the byte under each cursor without moving; past the end of a message it means nothing."""
        return self.data_at(self.pos)

    def data_at(self, pos: Longs) -> Bytes:
        """Return the bytes at some positions; those behind the data are zeros."""
        return self.chunk.data.take(pos, mode="clip")

    def pass_over(self, size: int) -> Longs:
        """Pass `size` bytes, at most `len(PADDING)`, and return positions where that many can be read.

        Those of failed messages, and of no others, may lie elsewhere.
        """
        start = self.pos.copy()
        self.advance(size)
        if self.chunk.failures:
            np.minimum(start, len(self.chunk.raw) - size, out=start)
        return start

    def advance(self, size: int) -> None:
        """Pass `size` bytes that have to be there, or fail as truncated."""
        self.pos += size
        beyond = self.pos > self.end
        if beyond.any():
            self.fail(beyond, TRUNCATED)
        if size > len(PADDING) and self.chunk.failures:
            # Dead cursors must not wander off for good: positions have 32 bits in slices.
            np.minimum(self.pos, self.chunk.zeros, out=self.pos)

    def long(self) -> Longs:
        """Read a zig-zag number; those of failed messages are 0."""
        first = self.byte()
        if any_bits(first) < 0x80:
            self.advance(1)
            value = ((first >> 1) ^ -(first & 1)).view(np.int8).astype(np.int64)
            if self.chunk.failures:
                value[self.end == FAR] = 0
            return value
        return self._long_numbers(first)

    def _long_numbers(self, first: Bytes) -> Longs:
        """Read numbers of which some have more bytes than the one in `first`."""
        index = np.flatnonzero(first >= 0x80)
        starts = self.pos[index]
        second = self.data_at(starts + 1)
        size: Longs | int = 2
        if any_bits(second) < 0x80:
            value = (first[index] & 0x7F).astype(np.uint64) | (second.astype(np.uint64) << _SEVEN)
        else:
            value, size = _decode(self.chunk.words[starts])
            self._read_last_bytes(index, starts, value, size)
        bits = first.astype(np.uint64)
        bits[index] = value
        self.pos += 1
        self.pos[index] += np.minimum(size, 10) - 1
        beyond = self.pos > self.end
        if beyond.any():
            self.fail(beyond, TRUNCATED)
            bits[beyond] = 0
        long = np.flatnonzero(np.asarray(size) > 10)
        if len(long):
            self.fail(index[long], VARINT_TOO_LONG)
            bits[index[long]] = 0
        return ((bits >> _ONE) ^ (~(bits & _ONE) + _ONE)).view(np.int64)

    def _read_last_bytes(self, index: Longs, starts: Longs, value: Words, size: Longs) -> None:
        """Add bytes 9 and 10 to numbers that have them; a size of 11 says that more than 64 bits follow."""
        open_ = np.flatnonzero(size > 8)
        if not len(open_):
            return
        ninth = self.data_at(starts[open_] + 8)
        value[open_] |= (ninth & 0x7F).astype(np.uint64) << np.uint64(56)
        size[open_] = 9
        longest = open_[ninth >= 0x80]
        tenth = self.data_at(starts[longest] + 9)
        value[longest] |= (tenth & 1).astype(np.uint64) << np.uint64(63)
        size[longest] = 10
        too_long = longest[tenth > 1]
        # The tenth byte has to be there before it can be wrong.
        size[too_long[starts[too_long] + 10 <= self.end[index[too_long]]]] = 11

    def span(self) -> tuple[Longs, Longs]:
        """Read a length and pass that many bytes; return where they start and stop.

        The stops are the cursors' own positions: use them before the next read.
        """
        first = self.byte()
        if any_bits(first) & 0x81:
            length = self.length()
            start = self.pos
            self.pos = start + length
            return start, self.pos
        start = self.pos + 1
        self.pos = stop = start + (first >> 1)
        beyond = stop > self.end
        if beyond.any():
            self.fail(beyond & (start > self.end), TRUNCATED)
            self.fail(beyond & self.alive(), LENGTH_BEYOND_MESSAGE)
            start[beyond] = self.chunk.zeros
        return start, self.pos

    def length(self) -> Longs:
        """Read the length of something that has to lie in the message; those of failed messages are 0."""
        length = self.long()
        negative = length < 0
        if negative.any():
            self.fail(negative, NEGATIVE_LENGTH)
            length[negative] = 0
        beyond = length > self.end - self.pos
        if beyond.any():
            self.fail(beyond, LENGTH_BEYOND_MESSAGE)
            length[beyond] = 0
        return length


def any_bits(data: Bytes) -> int:
    """Return the bits that any byte has."""
    return int(np.bitwise_or.reduce(data))


def _decode(words: Words) -> tuple[Words, Longs]:
    """Return the first number in each 8 bytes, and its size in bytes: 9 when it does not end in them."""
    stops = ~words & _MORE
    lowest = stops & (~stops + _ONE)
    # All bits up to the first stop bit; all 64 when there is none, as 0 - 1 wraps around.
    kept = (lowest << _ONE) - _ONE
    size = np.bitwise_count(kept).astype(np.int64) >> 3
    size[stops == 0] = 9
    bits = words & kept & _SEVEN_BITS
    for shift, even in (
        (1, np.uint64(0x007F007F007F007F)),
        (2, np.uint64(0x00003FFF00003FFF)),
        (4, np.uint64(0x000000000FFFFFFF)),
    ):
        bits = (bits & even) | ((bits & ~even) >> np.uint64(shift))
    return bits, size

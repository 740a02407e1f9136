"""Finding the items of arrays and maps: how many each message has, and where each one begins.

Items lie behind each other, so a message's next item is found only by walking the one before: one round
steps all messages that have another item left. Then the items of all messages are read at once, as cursors
of their own. Bytes are therefore walked once more for each array they are nested in.

A round costs about the same for one message as for hundreds. A single message with thousands of items must
not cost thousands of rounds, so a chunk has only some rounds with few cursors; then the strict decoder
walks what is left of these arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from auditlog_schemas.columnar_cursor import FAR, Lane, Longs
from auditlog_schemas.errors import DecodeError
from auditlog_schemas.strict import Cursor, Reader, read_blocks, read_items
from auditlog_schemas.verdicts import DECODE_VERDICTS

THIN: Final = 16
"""A round with fewer cursors than this is slower than the strict decoder."""

_TOO_MANY_ITEMS: Final = DECODE_VERDICTS["too_many_items"]
_ZERO_SIZE_ITEMS: Final = DECODE_VERDICTS["zero_size_items"]
_BLOCK_SIZE_MISMATCH: Final = DECODE_VERDICTS["block_size_mismatch"]
_NO_SIZE: Final = -1


class Skipper(Protocol):
    """Something that walks over one value per cursor, checking it."""

    def skip(self, lane: Lane) -> None:
        """Pass one value at each cursor."""


@dataclass(frozen=True, slots=True)
class Items:
    """The items of a column: those of cursor i are ``offsets[i]`` up to ``offsets[i + 1]`` of `lane`."""

    offsets: npt.NDArray[np.int32]
    lane: Lane


class Blocks:
    """Walks over the blocks of one array or map.

    Args:
        item: walks over one item.
        read_one: the strict decoder's reader of one item.
        size_min: the fewest bytes an item takes.
    """

    def __init__(self, item: Skipper, read_one: Reader, size_min: int) -> None:
        self._item = item
        self._read_one = read_one
        self._size_min = size_min

    def find(self, lane: Lane) -> Items:
        """Pass all blocks and return their items."""
        found = _Found(len(lane))
        self._walk(lane, found)
        return found.items(lane, self._size_min == 0)

    def skip(self, lane: Lane) -> None:
        """Pass all blocks."""
        self._walk(lane, None)

    def _walk(self, lane: Lane, found: _Found | None) -> None:
        before = lane.pos.copy()
        count = lane.long()
        index = np.flatnonzero(count)
        while len(index):
            if len(index) < THIN and not _may_be_thin(lane):
                lane.pos[index] = before[index]
                for at in index.tolist():
                    self._walk_one(lane, at, found, lambda cursor, item: self._blocks_of(cursor, item))
                return
            cursors = lane.part(index)
            left, stop = self._open(cursors, count[index])
            self._walk_items(cursors, index, left, found)
            wrong = (stop != _NO_SIZE) & (cursors.pos != stop) & cursors.alive()
            if wrong.any():
                cursors.fail(wrong, _BLOCK_SIZE_MISMATCH)
            before[index] = cursors.pos
            count[index] = cursors.long()
            lane.put_back(index, cursors)
            index = index[count[index] != 0]

    def _open(self, lane: Lane, count: Longs) -> tuple[Longs, Longs]:
        """Return how many items each block has, and where its size says that it ends."""
        stop = np.full(len(lane), _NO_SIZE, np.int64)
        negative = np.flatnonzero(count < 0)
        if len(negative):
            sized = lane.part(negative)
            length = sized.length()
            stop[negative] = sized.pos + length
            lane.put_back(negative, sized)
            # The lowest number has no positive counterpart; no message has as many items either.
            count[negative] = np.where(count[negative] == -(1 << 63), FAR, -count[negative])
            count[lane.end == FAR] = 0
        self._require_room(lane, count)
        return count, stop

    def _require_room(self, lane: Lane, count: Longs) -> None:
        """Refuse counts that the messages cannot hold, before any work is done for them."""
        if self._size_min:
            over = count > (lane.end - lane.pos) // self._size_min
            verdict = _TOO_MANY_ITEMS
        elif lane.verified:
            return
        else:
            left = lane.chunk.zero_size_left[lane.rows] - count
            lane.chunk.zero_size_left[lane.rows] = left
            over = left < 0
            verdict = _ZERO_SIZE_ITEMS
        if over.any():
            lane.fail(over, verdict)
            count[over] = 0

    def _walk_items(self, lane: Lane, index: Longs, left: Longs, found: _Found | None) -> None:
        """Walk one block of each cursor; `index` says which cursors they are in `found`."""
        if not self._size_min:
            if found:
                found.count[index] += left
            return
        part, at = lane, np.arange(len(lane))
        while True:
            open_ = left > 0
            if not open_.all():
                if part is not lane:
                    lane.put_back(at, part)
                at, left = at[open_], left[open_]
                if not len(at):
                    return
                part = lane.part(at)
            if len(at) < THIN and not _may_be_thin(lane):
                break
            if found:
                found.add(index[at], part.pos.copy())
            self._item.skip(part)
            left = np.where(part.end == FAR, 0, left - 1)
        if part is not lane:
            lane.put_back(at, part)
        for one, count in zip(at.tolist(), left.tolist(), strict=True):
            self._walk_rest(lane, one, count, found, int(index[one]))

    def _walk_rest(self, lane: Lane, at: int, count: int, found: _Found | None, target: int) -> None:
        def walk(cursor: Cursor, item: Callable[[], None]) -> None:
            read_items(cursor, "", count, None, item)

        self._walk_one(lane, at, found, walk, target)

    def _blocks_of(self, cursor: Cursor, item: Callable[[], None]) -> None:
        read_blocks(cursor, "", self._size_min, item)

    def _walk_one(
        self,
        lane: Lane,
        at: int,
        found: _Found | None,
        walk: Callable[[Cursor, Callable[[], None]], None],
        target: int | None = None,
    ) -> None:
        """Let the strict decoder walk from one cursor on, and put the cursor where it stops."""
        chunk, row = lane.chunk, int(lane.rows[at])
        cursor = Cursor(chunk.raw, int(lane.pos[at]), int(lane.end[at]))
        cursor.zero_size_items_left = FAR if lane.verified else int(chunk.zero_size_left[row])
        starts: list[int] = []

        def item() -> None:
            starts.append(cursor.pos)
            self._read_one(cursor)

        try:
            walk(cursor, item)
        except DecodeError as error:
            lane.fail(np.array([at]), DECODE_VERDICTS[error.rule])
            return
        lane.pos[at] = cursor.pos
        if not lane.verified:
            chunk.zero_size_left[row] = cursor.zero_size_items_left
        if found:
            found.add_all(at if target is None else target, starts)


def _may_be_thin(lane: Lane) -> bool:
    """Spend one of the chunk's rounds with few cursors, if there are any left."""
    lane.chunk.thin_rounds_left -= 1
    return lane.chunk.thin_rounds_left >= 0


class _Found:
    """The items found so far: `count` per cursor, and where each begins."""

    def __init__(self, cursors: int) -> None:
        self.count: Longs = np.zeros(cursors, np.int64)
        self._rounds: list[tuple[Longs, Longs, Longs]] = []

    def add(self, index: Longs, starts: Longs) -> None:
        """Note one more item for each cursor in `index`, none of them twice."""
        self._rounds.append((index, self.count[index], starts))
        self.count[index] += 1

    def add_all(self, at: int, starts: list[int]) -> None:
        """Note all further items of one cursor."""
        ordinals = self.count[at] + np.arange(len(starts))
        self._rounds.append((np.full(len(starts), at), ordinals, np.array(starts, np.int64)))
        self.count[at] += len(starts)

    def items(self, lane: Lane, zero_size: bool) -> Items:
        """Return the items in order; those of messages that failed meanwhile are dropped."""
        if lane.chunk.failures:
            self.count[lane.end == FAR] = 0
        offsets = np.zeros(len(lane) + 1, np.int64)
        np.cumsum(self.count, out=offsets[1:])
        if len(self._rounds) == 1 and not lane.chunk.failures and not zero_size:
            owner, _, starts = self._rounds[0]
        else:
            owner = np.repeat(np.arange(len(lane)), self.count)
            starts = lane.pos[owner] if zero_size else self._in_order(lane, offsets)
        items = Lane(lane.chunk, starts, lane.end[owner], lane.rows[owner], verified=True)
        return Items(offsets.astype(np.int32), items)

    def _in_order(self, lane: Lane, offsets: Longs) -> Longs:
        starts = np.empty(int(offsets[-1]), np.int64)
        for index, ordinal, found in self._rounds:
            if lane.chunk.failures:
                alive = lane.end[index] != FAR
                index, ordinal, found = index[alive], ordinal[alive], found[alive]
            starts[offsets[index] + ordinal] = found
        return starts

"""Decoding many messages of one writer's schema at once, into Arrow columns and a verdict per message.

One cursor stands in each message and all are stepped through the schema together, so that the work per
message is numpy's and Arrow's, not Python's. The verdicts are those of the one-by-one decoder
(`auditlog_schemas.strict`), which is also the place to ask for a rejected message's field and offset.

What is guaranteed for any bytes: a message reads only its own bytes and has to use them all; it fails alone,
with its rule, and its neighbours' rows are the same as without it; time and memory are bounded by the bytes
of the messages (and the width of the schema); nothing but the verdict tells of a bad message, no exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import numpy as np
import pyarrow as pa

from auditlog_schemas.columnar_arrow import Column, concat, keep, nulls, take
from auditlog_schemas.columnar_chunk import CHUNK_BYTES_MAX, Chunk
from auditlog_schemas.columnar_cursor import Longs, Verdicts
from auditlog_schemas.columnar_nested import walker_of
from auditlog_schemas.columnar_scalars import Build
from auditlog_schemas.plan import Node
from auditlog_schemas.verdicts import DECODE_VERDICTS

CHUNK_MESSAGES: Final = 16_384
"""Messages joined and stepped together: enough to hide numpy's overhead, few enough to stay in cache."""
CHUNK_BYTES: Final = 4 << 20
"""About so many bytes of messages go into a chunk; it ends with the message that reaches twice as many."""

_KEPT_BYTES: Final = 32 << 20
_TRUNCATED: Final = DECODE_VERDICTS["truncated"]
_TRAILING_BYTES: Final = DECODE_VERDICTS["trailing_bytes"]
_MESSAGE_TOO_LARGE: Final = DECODE_VERDICTS["message_too_large"]


@dataclass(frozen=True, slots=True)
class Decoded:
    """Decoded messages.

    Attributes:
        values: one row for each good message, in the messages' order. Strings are string, bytes binary,
            fixed a fixed-size binary (binary when it has more than 64 bytes), enums dictionaries of string,
            uuids 16 bytes, timestamps UTC timestamps of their unit, records structs, arrays lists, maps
            maps; a union with null is a nullable column, other unions are dense unions.
        good: the indexes of the good messages, ascending.
        verdict: for each message, an index into `auditlog_schemas.verdicts.VERDICTS`; 0 is good.
    """

    values: Column
    good: Longs
    verdict: Verdicts

    @property
    def batch(self) -> pa.RecordBatch:
        """The rows of a record as a record batch."""
        assert isinstance(self.values, pa.StructArray)
        return pa.RecordBatch.from_struct_array(self.values)


class ColumnarDecoder:
    """Decodes messages by one plan."""

    def __init__(self, plan: Node) -> None:
        self._walker = walker_of(plan)
        _keep_freed_memory()

    @property
    def type(self) -> pa.DataType:
        """The type of the decoded values."""
        return self._walker.type

    def decode(self, messages: Sequence[bytes], start: int | Sequence[int] = 0) -> Decoded:
        """Decode ``message[start:]`` of each message, which must be exactly one value.

        Args:
            messages: any number of them. One of more than 1 GiB gets the verdict ``message_too_large``.
            start: where the values begin, one number for all or one for each; a message that is shorter
                gets the verdict ``truncated``.
        """
        lengths = np.fromiter(map(len, messages), np.int64, len(messages))
        starts = np.broadcast_to(np.asarray(start, np.int64), lengths.shape)
        known = np.where(lengths < starts, np.int16(_TRUNCATED), np.int16(0))
        known[lengths > CHUNK_BYTES_MAX] = _MESSAGE_TOO_LARGE
        chunks: list[Decoded] = []
        for chunk, first in chunks_of(messages, lengths, known):
            rows = np.flatnonzero(chunk.verdict == 0)
            chunks.append(decode_groups(chunk, [Group(self, rows, starts[first + rows])], self.type))
        return joined(chunks, self.type)

    def read(self, chunk: Chunk, rows: Longs, header_bytes: int | Longs) -> Build:
        """Walk some messages of a chunk to their ends and return what builds their column."""
        lane = chunk.lane(rows, header_bytes)
        build = self._walker.read(lane)
        rest = (lane.pos != lane.end) & lane.alive()
        if rest.any():
            lane.fail(rest, _TRAILING_BYTES)
        return build


def _keep_freed_memory() -> None:
    """Let the C library keep some memory for the next chunk instead of giving it back after each one.

    glibc keeps twice as much as the largest block that was ever mapped and freed (`mallopt`, "dynamic mmap
    threshold"); new memory costs a page fault for every 4 KiB, which is a fifth of the decoder's time.
    """
    np.empty(_KEPT_BYTES // 2, np.uint8)


@dataclass(frozen=True, slots=True)
class Group:
    """Messages of a chunk that one decoder decodes: `rows` ascending, and how long their headers are."""

    decoder: ColumnarDecoder
    rows: Longs
    header_bytes: int | Longs


def chunks_of(messages: Sequence[bytes], lengths: Longs, known: Verdicts) -> Iterator[tuple[Chunk, int]]:
    """Divide messages into chunks; return each with the index of its first message.

    Args:
        messages: all of them.
        lengths: how many bytes each has.
        known: the verdicts that are known already; of such messages not even the bytes are looked at.
    """
    dropped = np.flatnonzero(known)
    if len(dropped):
        messages, lengths = list(messages), lengths.copy()
        lengths[dropped] = 0
        for index in dropped.tolist():
            messages[index] = b""
    ends = np.cumsum(lengths)
    # Equal chunks: a small one at the end would cost nearly as much as a full one.
    count = max(len(messages) / CHUNK_MESSAGES, int(lengths.sum()) / CHUNK_BYTES, 1)
    size = ceil(len(messages) / ceil(count))
    first = 0
    while first < len(messages):
        full = int(np.searchsorted(ends, ends[first] - lengths[first] + 2 * CHUNK_BYTES))
        stop = min(first + size, full + 1, len(messages))
        yield Chunk.of(messages[first:stop], lengths[first:stop], known[first:stop]), first
        first = stop


def decode_groups(chunk: Chunk, groups: Sequence[Group], type_: pa.DataType) -> Decoded:
    """Decode the messages of a chunk, in groups that all give `type_`, no message in two of them."""
    if not groups:
        return Decoded(nulls(0, type_), np.empty(0, np.int64), chunk.verdict)
    builds = [group.decoder.read(chunk, group.rows, group.header_bytes) for group in groups]
    columns = [build() for build in builds]
    chunk.judge_content()
    good: list[Longs] = []
    for number, group in enumerate(groups):
        is_good = chunk.verdict[group.rows] == 0
        good.append(group.rows[is_good])
        if not is_good.all():
            columns[number] = keep(columns[number], is_good)
    if len(groups) == 1:
        return Decoded(columns[0], good[0], chunk.verdict)
    rows = np.concatenate(good)
    order = np.argsort(rows, kind="stable")
    return Decoded(take(concat(columns), order), rows[order], chunk.verdict)


def joined(chunks: Sequence[Decoded], type_: pa.DataType) -> Decoded:
    """Join the chunks of a batch, which are in its order, into one."""
    if len(chunks) == 1:
        return chunks[0]
    if not chunks:
        return Decoded(nulls(0, type_), np.empty(0, np.int64), np.empty(0, np.int16))
    firsts = np.cumsum([0, *(len(chunk.verdict) for chunk in chunks[:-1])])
    return Decoded(
        concat([chunk.values for chunk in chunks]),
        np.concatenate([chunk.good + first for chunk, first in zip(chunks, firsts, strict=True)]),
        np.concatenate([chunk.verdict for chunk in chunks]),
    )

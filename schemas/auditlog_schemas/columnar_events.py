"""Decoding a batch of events as Kafka gives them: any framing, any known writer's schema, in any order.

The framing and the schema are found for whole chunks at once: messages with equal headers form a group, and
only one message of each group is asked for its schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np

from auditlog_schemas.codec import (
    CONFLUENT_HEADER_BYTES,
    CONFLUENT_MARK,
    EVENT_SCHEMA,
    SINGLE_OBJECT_HEADER_BYTES,
    SINGLE_OBJECT_MARK,
    WriterSchemas,
)
from auditlog_schemas.columnar import ColumnarDecoder, Decoded, Group, chunks_of, decode_groups, joined
from auditlog_schemas.columnar_chunk import Chunk
from auditlog_schemas.columnar_cursor import Longs, Words
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.limits import MESSAGE_BYTES_MAX
from auditlog_schemas.plan import Node
from auditlog_schemas.resolution import resolve
from auditlog_schemas.verdicts import DECODE_VERDICTS

_SINGLE_OBJECT_MARK: Final = int.from_bytes(SINGLE_OBJECT_MARK, "little")
_SCHEMA_ID_MASK: Final = np.uint64(0xFFFFFFFF)

LOOKUPS_AT_ONCE: Final = 8
_FEW_HEADERS: Final = 16
_NOT_ASKED: Final = InvalidEvent("unknown_schema_id", "", "not asked yet")


class EventDecoder:
    """Decodes Kafka messages into rows of the event's schema; the counterpart of `MessageDecoder`.

    Garbage in Confluent framing can name a new schema id in every message, and each must be asked of the
    registry, or a flood would reject good messages. So only the number of distinct unknown ids bounds the
    time of a batch: `LOOKUPS_AT_ONCE` are asked at once, each takes 0.6 ms of CPU here (one core does 10,000
    in 6 s; beside an Apicurio, on two busy cores, it took 16 to 25 s), and all other messages wait for them.
    """

    def __init__(self, schemas: WriterSchemas) -> None:
        self._schemas = schemas
        # Keyed by identity: hashing a plan would walk the whole tree. The plan is kept so that it stays.
        self._decoders: dict[int, tuple[Node, ColumnarDecoder]] = {}
        self.type = ColumnarDecoder(resolve(EVENT_SCHEMA)).type

    def decode(self, messages: Sequence[bytes | None]) -> Decoded:
        """Decode messages; None is a tombstone.

        Returns:
            Rows of the event's schema, in the messages' order, and a verdict for each message.

        Raises:
            RegistryUnavailable: the registry is needed and away; nothing is known about the batch yet.
        """
        return joined([chunk for _, chunk in self.decode_chunks(messages)], self.type)

    def decode_chunks(self, messages: Sequence[bytes | None]) -> Iterator[tuple[int, Decoded]]:
        """Decode messages chunk by chunk, for a caller that joins the rows only after more work on them.

        Yields:
            The index of a chunk's first message, and the chunk: its indexes count from there.

        Raises:
            RegistryUnavailable: as in `decode`, when the chunk is asked for.
        """
        values, lengths, tombstones = _without_tombstones(messages)
        known = np.zeros(len(values), np.int16)
        known[lengths > MESSAGE_BYTES_MAX] = DECODE_VERDICTS["message_too_large"]
        known[tombstones] = DECODE_VERDICTS["tombstone"]
        for chunk, first in chunks_of(values, lengths, known):
            yield first, decode_groups(chunk, self.groups(chunk), self.type)

    def groups(self, chunk: Chunk) -> list[Group]:
        """Divide a chunk by writer's schema; messages with a bad header get their verdicts.

        Raises:
            RegistryUnavailable: the registry is needed and away.
        """
        rows = np.flatnonzero(chunk.verdict == 0)
        start, size = chunk.starts[rows], chunk.ends[rows] - chunk.starts[rows]
        head = chunk.words[start]
        single = (size >= 2) & ((head & np.uint64(0xFFFF)) == _SINGLE_OBJECT_MARK)
        confluent = (size >= 1) & ((head & np.uint64(0xFF)) == CONFLUENT_MARK[0])
        _reject(chunk, rows[size == 0], "empty_message")
        _reject(chunk, rows[(size > 0) & ~single & ~confluent], "unknown_framing")
        found: list[Group] = []
        for framed, header_bytes in (
            (single, SINGLE_OBJECT_HEADER_BYTES),
            (confluent, CONFLUENT_HEADER_BYTES),
        ):
            short = framed & (size < header_bytes)
            _reject(chunk, rows[short], "truncated")
            whole = framed & ~short
            if whole.any():
                keys = _schema_keys(chunk, start[whole], header_bytes)
                found += self._by_key(chunk, rows[whole], keys, header_bytes)
        return found

    def _by_key(self, chunk: Chunk, rows: Longs, keys: Words, header_bytes: int) -> list[Group]:
        alike = [rows]
        if (keys != keys[0]).any():
            order = np.argsort(keys, kind="stable")
            alike = np.split(rows[order], np.flatnonzero(np.diff(keys[order])) + 1)
        starts = [int(chunk.starts[same[0]]) for same in alike]
        headers = [chunk.raw[start : start + header_bytes] for start in starts]
        found: list[Group] = []
        for same, plan in zip(alike, self._plans(headers), strict=True):
            if isinstance(plan, InvalidEvent):
                _reject(chunk, same, plan.rule)
            else:
                found.append(Group(self._decoder(plan), same, header_bytes))
        return found

    def _plans(self, headers: Sequence[bytes]) -> list[Node | InvalidEvent]:
        """Return for each header the plan of its schema, or why there is none."""
        if len(headers) <= _FEW_HEADERS or not headers[0].startswith(CONFLUENT_MARK):
            return [self._plan(header) for header in headers]
        plans: list[Node | InvalidEvent] = [_NOT_ASKED] * len(headers)
        with ThreadPoolExecutor(LOOKUPS_AT_ONCE, "schema-lookup") as threads:
            parts = [headers[first::LOOKUPS_AT_ONCE] for first in range(LOOKUPS_AT_ONCE)]
            found = threads.map(lambda part: [self._plan(header) for header in part], parts)
            for first, part in enumerate(found):
                plans[first::LOOKUPS_AT_ONCE] = part
        return plans

    def _plan(self, header: bytes) -> Node | InvalidEvent:
        try:
            return self._schemas.split(header)[0]
        except InvalidEvent as error:
            return error

    def _decoder(self, plan: Node) -> ColumnarDecoder:
        if id(plan) not in self._decoders:
            self._decoders[id(plan)] = (plan, ColumnarDecoder(plan))
        return self._decoders[id(plan)][1]


def _without_tombstones(messages: Sequence[bytes | None]) -> tuple[Sequence[bytes], Longs, Longs]:
    """Return the messages with b"" for None, their lengths, and the indexes of the tombstones."""
    values: Any = messages
    tombstones: list[int] = []
    try:
        lengths = np.fromiter(map(len, values), np.int64, len(values))
    except TypeError:
        tombstones = [index for index, message in enumerate(messages) if message is None]
        values = [message or b"" for message in messages]
        lengths = np.fromiter(map(len, values), np.int64, len(values))
    return values, lengths, np.array(tombstones, np.int64)


def _schema_keys(chunk: Chunk, start: Longs, header_bytes: int) -> Words:
    """Return what names each message's schema: the fingerprint, or the schema id."""
    if header_bytes == SINGLE_OBJECT_HEADER_BYTES:
        return chunk.words[start + len(SINGLE_OBJECT_MARK)]
    return (chunk.words[start] >> np.uint64(8)) & _SCHEMA_ID_MASK


def _reject(chunk: Chunk, rows: Longs, rule: str) -> None:
    chunk.verdict[rows] = DECODE_VERDICTS[rule]

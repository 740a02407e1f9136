"""Decoding a batch of events as Kafka gives them: any framing, any known writer's schema, in any order.

The framing and the schema are found for whole chunks at once: messages with equal headers form a group, and
only one message of each group is asked for its schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa

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
from auditlog_schemas.errors import UnknownSchema
from auditlog_schemas.limits import MESSAGE_BYTES_MAX
from auditlog_schemas.plan import Node
from auditlog_schemas.resolution import resolve
from auditlog_schemas.schema_ids import PLANS_MAX, UNKNOWN, Answer, Unusable
from auditlog_schemas.verdicts import DECODE_VERDICTS

_SINGLE_OBJECT_MARK: Final = int.from_bytes(SINGLE_OBJECT_MARK, "little")
_SCHEMA_ID_MASK: Final = np.uint64(0xFFFFFFFF)

IDS_AT_ONCE_MAX: Final = 1_000
"""How many ids a batch is said to wait for at a time: about a second's lookups, and bounded memory."""
_UNANSWERED: Final = -1
"""Stands in for the verdict of a message whose schema id has no answer yet."""


@dataclass(frozen=True, slots=True)
class DecodedPart:
    """The messages of a batch that can be decoded without asking the registry: all, or the first ones.

    Attributes:
        decoded: the messages before the first one whose schema id has no answer.
        unanswered: the ids to ask for before more can be decoded, in the order in which messages name them;
            none when all messages are decoded. These are the ids from the first such message on, without
            those whose schema is known, and at most `IDS_AT_ONCE_MAX`.
    """

    decoded: Decoded
    unanswered: tuple[int, ...]


class EventDecoder:
    """Decodes Kafka messages into rows of the event's schema; the counterpart of `MessageDecoder`.

    Garbage in Confluent framing can name a new schema id in every message, and each must be asked of the
    registry, or a flood would reject good messages. So `decode_part` never waits: it says what to ask for.
    """

    def __init__(self, schemas: WriterSchemas) -> None:
        self._schemas = schemas
        # Keyed by identity: hashing a plan would walk the whole tree. The plan is kept so that it stays.
        self._decoders: dict[int, tuple[Node, ColumnarDecoder]] = {}
        self.type = ColumnarDecoder(resolve(EVENT_SCHEMA)).type

    def decode(self, messages: Sequence[bytes | None], answers: dict[int, Answer] | None = None) -> Decoded:
        """Decode messages, asking the registry for one id after the other where there is no answer.

        Args:
            messages: as Kafka gives them; None is a tombstone.
            answers: by schema id; those that were used and not given are added.

        Returns:
            Rows of the event's schema, in the messages' order, and a verdict for each message.

        Raises:
            RegistryUnavailable: the registry is needed and away; nothing is known about the batch yet.
        """
        answers = {} if answers is None else answers
        parts: list[Decoded] = []
        done = 0
        while True:
            part = self.decode_part(messages[done:] if done else messages, answers)
            parts.append(part.decoded)
            done += len(part.decoded.verdict)
            if not part.unanswered:
                return joined(parts, self.type)
            for schema_id in part.unanswered:
                if schema_id not in answers:
                    answers[schema_id] = self._schemas.by_id.ask(schema_id)

    def decode_part(self, messages: Sequence[bytes | None], answers: dict[int, Answer]) -> DecodedPart:
        """Decode the messages before the first one whose schema id has no answer. Asks nobody.

        Args:
            messages: as Kafka gives them; None is a tombstone.
            answers: by schema id; those that were used and not given are added, so that an id means the
                same in all messages.
        """
        parts: list[Decoded] = []
        unanswered: dict[int, None] = {}
        for chunk in _chunks(messages):
            stop = 0
            if not unanswered:
                groups = self.groups(chunk, answers)
                stop = _first_unanswered(chunk)
                parts.append(_decoded(chunk, groups, stop, self.type))
            if stop < len(chunk.verdict):
                self._add_unanswered(unanswered, _ids_named(chunk, stop))
            if len(unanswered) == IDS_AT_ONCE_MAX:
                break
        return DecodedPart(joined(parts, self.type), tuple(unanswered))

    def groups(self, chunk: Chunk, answers: dict[int, Answer]) -> list[Group]:
        """Divide a chunk by writer's schema; messages with a bad header get their verdicts.

        A message whose schema id has no answer is in no group, and has `_UNANSWERED` for a verdict.
        """
        rows = np.flatnonzero(chunk.verdict == 0)
        start, size = chunk.starts[rows], chunk.ends[rows] - chunk.starts[rows]
        head = chunk.words[start]
        single = (size >= 2) & ((head & np.uint64(0xFFFF)) == _SINGLE_OBJECT_MARK)
        confluent = (size >= 1) & ((head & np.uint64(0xFF)) == CONFLUENT_MARK[0])
        _reject(chunk, rows[size == 0], "empty_message")
        _reject(chunk, rows[(size > 0) & ~single & ~confluent], "unknown_framing")
        found: list[Group] = []
        for framed, header_bytes, answer in (
            (single, SINGLE_OBJECT_HEADER_BYTES, self._of_fingerprint),
            (confluent, CONFLUENT_HEADER_BYTES, partial(self._of_id, answers)),
        ):
            short = framed & (size < header_bytes)
            _reject(chunk, rows[short], "truncated")
            whole = framed & ~short
            if whole.any():
                keys = _schema_keys(chunk, start[whole], header_bytes)
                for same in _alike(rows[whole], keys):
                    begin = int(chunk.starts[same[0]])
                    plan = answer(chunk.raw[begin : begin + header_bytes])
                    if plan is None:
                        chunk.verdict[same] = _UNANSWERED
                    elif isinstance(plan, Unusable):
                        _reject(chunk, same, plan.rule)
                    else:
                        found.append(Group(self._decoder(plan), same, header_bytes))
        return found

    def _of_fingerprint(self, header: bytes) -> Answer:
        try:
            return self._schemas.split(header)[0]
        except UnknownSchema as error:
            return Unusable(error.rule, error.detail)

    def _of_id(self, answers: dict[int, Answer], header: bytes) -> Answer | None:
        schema_id = int.from_bytes(header[1:], "big")
        found = answers.get(schema_id)
        if found is None:
            found = self._schemas.by_id.known(schema_id)
            if found is not None:
                answers[schema_id] = found
        return found

    def _add_unanswered(self, unanswered: dict[int, None], ids: Sequence[int]) -> None:
        """Add ids that have no answer, or one that will not hold; whatever is known by now, at least one."""
        if not unanswered:
            unanswered[ids[0]] = None
        for schema_id in ids:
            if len(unanswered) == IDS_AT_ONCE_MAX:
                break
            known = self._schemas.by_id.known(schema_id)
            if known is None or known is UNKNOWN:
                unanswered[schema_id] = None

    def _decoder(self, plan: Node) -> ColumnarDecoder:
        if id(plan) not in self._decoders:
            if len(self._decoders) >= PLANS_MAX:
                self._decoders.clear()
            self._decoders[id(plan)] = (plan, ColumnarDecoder(plan))
        return self._decoders[id(plan)][1]


def _chunks(messages: Sequence[bytes | None]) -> Iterator[Chunk]:
    values, lengths, tombstones = _without_tombstones(messages)
    known = np.zeros(len(values), np.int16)
    known[lengths > MESSAGE_BYTES_MAX] = DECODE_VERDICTS["message_too_large"]
    known[tombstones] = DECODE_VERDICTS["tombstone"]
    for chunk, _ in chunks_of(values, lengths, known):
        yield chunk


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


def _alike(rows: Longs, keys: Words) -> list[Longs]:
    """Divide messages by their keys; each part stays ascending."""
    if not (keys != keys[0]).any():
        return [rows]
    order = np.argsort(keys, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(keys[order])) + 1)


def _first_unanswered(chunk: Chunk) -> int:
    """Return the first message without an answer, or how many messages the chunk has."""
    found = np.flatnonzero(chunk.verdict == _UNANSWERED)
    return int(found[0]) if len(found) else len(chunk.verdict)


def _decoded(chunk: Chunk, groups: Sequence[Group], stop: int, type_: pa.DataType) -> Decoded:
    """Decode a chunk's messages before `stop`."""
    if stop < len(chunk.verdict):
        before = [(group, group.rows[group.rows < stop]) for group in groups]
        groups = [Group(group.decoder, rows, group.header_bytes) for group, rows in before if len(rows)]
    found = decode_groups(chunk, groups, type_)
    return Decoded(found.values, found.good, found.verdict[:stop])


def _ids_named(chunk: Chunk, first: int) -> list[int]:
    """Return the schema ids that messages name from `first` on, each once, in the order of appearance."""
    start, end = chunk.starts[first:], chunk.ends[first:]
    head = chunk.words[start]
    confluent = (end - start >= CONFLUENT_HEADER_BYTES) & ((head & np.uint64(0xFF)) == CONFLUENT_MARK[0])
    keys = _schema_keys(chunk, start[confluent], CONFLUENT_HEADER_BYTES)
    ids, places = np.unique(keys.astype("<u4").view(">u4"), return_index=True)
    return [int(schema_id) for schema_id in ids[np.argsort(places)]]


def _reject(chunk: Chunk, rows: Longs, rule: str) -> None:
    chunk.verdict[rows] = DECODE_VERDICTS[rule]

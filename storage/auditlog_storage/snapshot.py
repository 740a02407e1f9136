"""A snapshot of the log: which rows of it are recorded, so that what is stored later can be told apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

_UUID_BYTES: Final = 16
_END_BYTES_MIN: Final = 5
"""Every end takes the bytes that the largest one needs, and never fewer than these, up to 10^12: how long a
snapshot is shows how many partitions there are, and not how much is in them."""


@dataclass(frozen=True)
class Snapshot:
    """Which rows of `audit_events` belong to it.

    Rows of one batch become visible one after the other, and those of several partitions in any order. The
    ledger says up to where a partition is whole: below that offset nothing is added any more.

    Attributes:
        ends: by topic id and partition, the offset after the last one that belongs to it.
        closed: topics of which all rows belong to it, because nothing is read from them any more.
    """

    ends: Mapping[tuple[UUID, int], int]
    closed: frozenset[UUID] = frozenset()

    def condition(self) -> tuple[str, dict[str, object]]:
        """Return the SQL condition on a row to belong to it, and the values of its parameters."""
        conditions: list[str] = []
        values: dict[str, object] = {}
        for number, (topic_id, ends) in enumerate(self._by_topic().items()):
            topic, partitions, until = f"topic_{number}", f"partitions_{number}", f"ends_{number}"
            # No offset is below 0, the end of every other partition.
            conditions.append(
                f"(topic_id = {{{topic}:UUID}} AND kafka_offset < transform(kafka_partition, "
                f"{{{partitions}:Array(Int32)}}, {{{until}:Array(Int64)}}, toInt64(0)))"
            )
            values |= {topic: topic_id, partitions: list(ends), until: list(ends.values())}
        if self.closed:
            conditions.append("topic_id IN {closed_topics:Array(UUID)}")
            values["closed_topics"] = sorted(self.closed)
        return f"({' OR '.join(conditions) or '0'})", values

    def only(self, partitions: Collection[tuple[UUID, int]]) -> Snapshot:
        """Return the snapshot without the rows of all other partitions."""
        topics = {topic_id for topic_id, _ in partitions}
        kept = {key: end for key, end in self.ends.items() if key in partitions}
        return Snapshot(kept, self.closed & topics)

    def to_bytes(self) -> bytes:
        """Return it in few bytes: 16 for a topic, and about 6 for a partition."""
        topics = self._by_topic()
        width = max(_END_BYTES_MIN, (max(self.ends.values(), default=0).bit_length() + 7) // 8)
        out = bytearray([width, *_varint(len(topics))])
        for topic_id, ends in topics.items():
            out += topic_id.bytes + _varint(len(ends))
            last = -1
            for partition, end in ends.items():
                out += _varint(partition - last - 1) + end.to_bytes(width)
                last = partition
        return bytes(out) + b"".join(topic_id.bytes for topic_id in sorted(self.closed))

    @classmethod
    def from_bytes(cls, packed: bytes) -> Snapshot:
        """Return the snapshot of `to_bytes`, whose bytes these must be."""
        ends: dict[tuple[UUID, int], int] = {}
        width = packed[0]
        topics, at = _read_varint(packed, 1)
        for _ in range(topics):
            topic_id = _read_uuid(packed, at)
            partitions, at = _read_varint(packed, at + _UUID_BYTES)
            partition = -1
            for _ in range(partitions):
                skipped, at = _read_varint(packed, at)
                partition += skipped + 1
                ends[topic_id, partition] = int.from_bytes(packed[at : at + width])
                at += width
        closed = {_read_uuid(packed, start) for start in range(at, len(packed), _UUID_BYTES)}
        return cls(ends, frozenset(closed))

    def _by_topic(self) -> dict[UUID, dict[int, int]]:
        topics: dict[UUID, dict[int, int]] = {}
        for (topic_id, partition), end in sorted(self.ends.items()):
            topics.setdefault(topic_id, {})[partition] = end
        return topics


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _read_varint(packed: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while packed[at] & 0x80:
        number |= (packed[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return number | packed[at] << shift, at + 1


def _read_uuid(packed: bytes, at: int) -> UUID:
    return UUID(bytes=packed[at : at + _UUID_BYTES])

"""A snapshot of the log: which rows of it are recorded, so that what is stored later can be told apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from auditlog_storage.tables import OFFSET_MAX

PLACES_MAX: Final = 200_000
"""Numbers in the arrays of a snapshot's condition that came from outside: a cluster has fewer partitions."""

_UUID_BYTES: Final = 16


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
            # An index behind the array's end gives 0, and no offset is below 0.
            dense = [ends.get(partition, 0) for partition in range(max(ends) + 1)]
            names = f"topic_{number}", f"ends_{number}"
            conditions.append(
                f"(topic_id = {{{names[0]}:UUID}} AND kafka_offset < {{{names[1]}:Array(Int64)}}"
                "[kafka_partition + 1])"
            )
            values |= {names[0]: topic_id, names[1]: dense}
        if self.closed:
            conditions.append("topic_id IN {closed_topics:Array(UUID)}")
            values["closed_topics"] = sorted(self.closed)
        return f"({' OR '.join(conditions) or '0'})", values

    def only(self, partitions: set[tuple[UUID, int]]) -> Snapshot:
        """Return the snapshot without the rows of all other partitions."""
        topics = {topic_id for topic_id, _ in partitions}
        kept = {key: end for key, end in self.ends.items() if key in partitions}
        return Snapshot(kept, self.closed & topics)

    def to_bytes(self) -> bytes:
        """Return it in few bytes: 16 for a topic, and 2 to 7 for a partition."""
        topics = self._by_topic()
        out = bytearray(_varint(len(topics)))
        for topic_id, ends in topics.items():
            out += topic_id.bytes + _varint(len(ends))
            last = -1
            for partition, end in sorted(ends.items()):
                out += _varint(partition - last - 1) + _varint(end)
                last = partition
        return bytes(out) + b"".join(topic_id.bytes for topic_id in sorted(self.closed))

    @classmethod
    def from_bytes(cls, packed: bytes) -> Snapshot:
        """Return the snapshot of `to_bytes`.

        Raises:
            ValueError: these bytes are none; they may come from anybody.
        """
        ends: dict[tuple[UUID, int], int] = {}
        count, at = _read_varint(packed, 0)
        places = 0
        for _ in range(count):
            topic_id = _read_uuid(packed, at)
            partitions, at = _read_varint(packed, at + _UUID_BYTES)
            partition = -1
            for _ in range(partitions):
                skipped, at = _read_varint(packed, at)
                partition += skipped + 1
                places += skipped + 1
                ends[topic_id, partition], at = _read_varint(packed, at)
        if places > PLACES_MAX or any(end > OFFSET_MAX + 1 for end in ends.values()):
            raise ValueError("no partition, or no offset, has so high a number")
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
    while at < len(packed) and shift < 64:
        number |= (packed[at] & 0x7F) << shift
        at += 1
        if not packed[at - 1] & 0x80:
            return number, at
        shift += 7
    raise ValueError("a number is cut short or too long")


def _read_uuid(packed: bytes, at: int) -> UUID:
    return UUID(bytes=packed[at : at + _UUID_BYTES])

"""Kafka's binary protocol, as far as fetching needs it: requests to bytes, bytes to answers. Does no I/O.

Source: https://kafka.apache.org/protocol. Brokers from Kafka 2.7 to 4 know these versions; only that of Fetch
has the protocol's flexible encoding (KIP-482).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from auditlog_schemas.errors import BrokerUnavailable

FETCH: Final = (1, 12)
METADATA: Final = (3, 4)
SASL_HANDSHAKE: Final = (17, 1)
SASL_AUTHENTICATE: Final = (36, 0)

READ_UNCOMMITTED: Final = 0
READ_COMMITTED: Final = 1

_NO_TAGS: Final = b"\0"
_DIVERGING_EPOCH: Final = 0

NONE: Final = 0
OFFSET_OUT_OF_RANGE: Final = 1
UNKNOWN_TOPIC_OR_PARTITION: Final = 3
TOPIC_AUTHORIZATION_FAILED: Final = 29
ILLEGAL_SASL_STATE: Final = 34

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Who leads the partitions of a topic.

    Attributes:
        error: Kafka's error code of the topic.
        leaders: host and port of each partition's leader; partitions that have none now are left out.
        count: how many partitions there are.
    """

    error: int
    leaders: Mapping[int, Address]
    count: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one answer says of one partition.

    Attributes:
        error: Kafka's error code.
        end: the offset after the last message that all replicas in sync have.
        stable_end: the offset up to which transactions are decided; nothing beyond it is sent to whoever
            reads what is committed.
        aborted: (producer id, first offset) of the aborted transactions among the records.
        records: record batches, the last of which may be cut off.
        cut_at: where this log and the one that was read before part, None when they do not.
    """

    partition: int
    error: int
    end: int
    stable_end: int
    aborted: tuple[tuple[int, int], ...]
    records: memoryview
    cut_at: int | None = None


class Reader:
    """Reads an answer from beginning to end; raises BrokerUnavailable where it is cut off."""

    def __init__(self, body: bytes | bytearray | memoryview) -> None:
        self._body = memoryview(body)
        self._at = 0

    def numbers(self, form: str) -> tuple[int, ...]:
        """Return big-endian numbers of a `struct` form."""
        return struct.unpack(f">{form}", self._take(struct.calcsize(f">{form}")))

    def number(self, form: str) -> int:
        """Return one big-endian number."""
        return self.numbers(form)[0]

    def text(self) -> str:
        """Return a string; "" for null."""
        return bytes(self._take(self.number("h"))).decode("utf-8", "replace")

    def data(self) -> memoryview:
        """Return bytes without copying them; none for null."""
        return self._take(self.number("i"))

    def varint(self) -> int:
        """Return an unsigned varint, as the flexible encoding has them."""
        number, shift = 0, 0
        while (octet := self.number("B")) > 0x7F:
            number |= (octet & 0x7F) << shift
            shift += 7
            if shift > 28:
                raise BrokerUnavailable("Kafka sent a number of more than five bytes")
        return number | octet << shift

    def compact_data(self) -> memoryview:
        """Return bytes in the flexible encoding, or those of a string; none for null."""
        return self._take(self.varint() - 1)

    def compact_items(self) -> Iterator[int]:
        """Yield once for each item of the array in the flexible encoding that begins here."""
        yield from range(self.varint() - 1)

    def tags(self) -> dict[int, memoryview]:
        """Return the tagged fields that begin here."""
        found = {}
        for _ in range(self.varint()):
            tag = self.varint()
            found[tag] = self._take(self.varint())
        return found

    def items(self) -> Iterator[int]:
        """Yield once for each item of the array that begins here."""
        yield from range(self.number("i"))

    def _take(self, size: int) -> memoryview:
        size = max(size, 0)
        if self._at + size > len(self._body):
            raise BrokerUnavailable("Kafka sent an answer that ends early")
        self._at += size
        return self._body[self._at - size : self._at]


def metadata_request(*topics: str) -> bytes:
    """Ask who leads the partitions of topics, if of any; never makes one."""
    return struct.pack(">i", len(topics)) + b"".join(map(_text, topics)) + b"\0"


def read_metadata(body: bytes | bytearray) -> Metadata:
    """Return what an answer to `metadata_request` says of one topic."""
    reader = Reader(body)
    reader.number("i")
    brokers: dict[int, Address] = {}
    for _ in reader.items():
        node = reader.number("i")
        brokers[node] = (reader.text(), reader.number("i"))
        reader.text()
    reader.text()
    reader.number("i")
    error, count, leaders = None, 0, {}
    for _ in reader.items():
        error = reader.number("h")
        reader.text()
        reader.number("b")
        for _ in reader.items():
            count += 1
            _, partition, leader = reader.numbers("hii")
            for _ in range(2):
                for _ in reader.items():
                    reader.number("i")
            if leader in brokers:
                leaders[partition] = brokers[leader]
    if error is None:
        raise BrokerUnavailable("Kafka sent an answer that says nothing of the topic")
    return Metadata(error, leaders, count)


def fetch_request(
    topic: str,
    positions: Sequence[tuple[int, int, int]],
    *,
    wait_millis: int,
    bytes_max: int,
    partition_bytes_max: int,
    isolation: int = READ_COMMITTED,
) -> bytes:
    """Ask for record batches from (partition, offset, leader epoch of what comes before, or -1) on.

    The first ones of the list come first. A broker sends at least one whole batch, however large it is, and
    otherwise keeps to the bounds. It tells when its log is not the one in which the offset had this epoch.
    """
    head = struct.pack(">iiiibii", -1, wait_millis, 1, bytes_max, isolation, 0, -1)
    asked = b"".join(
        struct.pack(">iiqiqi", partition, -1, offset, epoch, -1, partition_bytes_max) + _NO_TAGS
        for partition, offset, epoch in positions
    )
    topics = _compact_size(1) + _compact(topic) + _compact_size(len(positions)) + asked + _NO_TAGS
    # The first tags are of the request's own head.
    return _NO_TAGS + head + topics + _compact_size(0) + _compact("") + _NO_TAGS


def read_fetched(body: bytes | bytearray) -> tuple[int, list[Fetched]]:
    """Return the error code of a whole answer to `fetch_request`, and what it says of each partition."""
    reader = Reader(body)
    reader.tags()
    _, error, _ = reader.numbers("ihi")
    found = []
    for _ in reader.compact_items():
        reader.compact_data()
        found += [_read_partition(reader) for _ in reader.compact_items()]
        reader.tags()
    return error, found


def _read_partition(reader: Reader) -> Fetched:
    partition, error, end, stable_end, _ = reader.numbers("ihqqq")
    aborted = []
    for _ in reader.compact_items():
        producer_id, first_offset = reader.numbers("qq")
        aborted.append((producer_id, first_offset))
        reader.tags()
    reader.number("i")
    records = reader.compact_data()
    diverging = reader.tags().get(_DIVERGING_EPOCH)
    cut_at = None if diverging is None else Reader(diverging).numbers("iq")[1]
    return Fetched(partition, error, end, stable_end, tuple(aborted), records, cut_at)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">h", len(raw)) + raw


def _compact(text: str) -> bytes:
    raw = text.encode()
    return _compact_size(len(raw)) + raw


def _compact_size(size: int) -> bytes:
    left, out = size + 1, bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes(out) + bytes([left])

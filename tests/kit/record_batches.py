"""Record batches made by hand and sent to a broker as they are: what no producer's library would send."""

from __future__ import annotations

import struct
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import lz4.frame  # type: ignore[import-untyped]
import pyarrow as pa

from auditlog_consumer.fetch.link import Link
from auditlog_consumer.fetch.security import Security
from auditlog_consumer.fetch.unpack import CODECS
from auditlog_consumer.messages import Messages

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Told = tuple[int, bytes | None, bytes | None, int]
"""Of a message: offset, key, value, milliseconds."""

_PRODUCE: Final = (0, 7)
_PIECE_BYTES: Final = 1 << 20


class Record(NamedTuple):
    """One record; `zeros` are appended to its value and take no memory of ours.

    `delta` is how far its offset lies behind the batch's first, None for its place; `millis` the same of its
    time.
    """

    value: bytes | None
    key: bytes | None = None
    zeros: int = 0
    delta: int | None = None
    millis: int = 0
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


@dataclass(frozen=True)
class Head:
    """What a batch says of itself beside its codec; None for what is true."""

    base: int = 0
    size: int | None = None
    epoch: int = -1
    magic: int = 2
    attributes: int = 0
    last_delta: int | None = None
    first_millis: int | None = None
    last_millis: int | None = None
    producer_id: int = -1
    count: int | None = None


TRUE_HEAD: Final = Head()
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20


def record_batch(
    records: Sequence[Record], codec: str = "none", head: Head = TRUE_HEAD, *, window_log: int | None = None
) -> bytes:
    """Return a record batch of format 2; its codec is one of `CODECS`."""
    return _framed(_packed(_pieces(records), codec, window_log), len(records), codec, head)


def raw_batch(data: bytes, count: int, codec: str = "none", head: Head = TRUE_HEAD) -> bytes:
    """Return a record batch that has these bytes for so many records."""
    return _framed(_packed([data], codec, None), count, codec, head)


def _framed(data: bytes, count: int, codec: str, head: Head) -> bytes:
    first_millis = int(time.time() * 1000) if head.first_millis is None else head.first_millis
    rest = struct.pack(
        ">hiqqqhii",
        CODECS.index(codec) | head.attributes,
        count - 1 if head.last_delta is None else head.last_delta,
        first_millis,
        first_millis if head.last_millis is None else head.last_millis,
        head.producer_id,
        -1,
        -1,
        count if head.count is None else head.count,
    )
    rest += data
    size = 9 + len(rest) if head.size is None else head.size
    return struct.pack(">qiibI", head.base, size, head.epoch, head.magic, _crc32c(rest)) + rest


def send(kafka: str, topic: str, partition: int, batch: bytes) -> int:
    """Have a broker append a batch; return the offset of its first record."""
    host, _, port = kafka.partition(",")[0].rpartition(":")
    with closing(Link((host, int(port)), Security(), "by-hand")) as link:
        name = topic.encode()
        body = struct.pack(">hhii", -1, -1, 30_000, 1) + struct.pack(">h", len(name)) + name
        body += struct.pack(">iii", 1, partition, len(batch)) + batch
        answer = link.ask(_PRODUCE, body)
    at = 4 + 2 + len(name) + 4
    _, error, offset = struct.unpack_from(">ihq", answer, at)
    assert error == 0, f"the broker refuses the batch: error {error}"
    return int(offset)


def told(parts: Iterable[Messages]) -> list[Told]:
    """Return what some messages are, none of which may be passed over."""
    found = []
    for messages in parts:
        assert not messages.passed
        assert messages.value_sizes.tolist() == [len(value or b"") for value in messages.values]
        assert messages.key_sizes.tolist() == [len(key or b"") for key in messages.keys]
        offsets, millis = messages.offsets.tolist(), messages.received_millis.tolist()
        found += list(zip(offsets, messages.keys, messages.values, millis, strict=True))
    return found


def _pieces(records: Iterable[Record]) -> Iterator[bytes]:
    for number, record in enumerate(records):
        delta = number if record.delta is None else record.delta
        value_size = -1 if record.value is None else len(record.value) + record.zeros
        head = b"\0" + varint(record.millis) + varint(delta) + _sized(record.key)
        head += varint(value_size) + (record.value or b"")
        tail = varint(len(record.headers))
        tail += b"".join(_sized(name) + _sized(value) for name, value in record.headers)
        yield varint(len(head) + record.zeros + len(tail)) + head
        for start in range(0, record.zeros, _PIECE_BYTES):
            yield bytes(min(_PIECE_BYTES, record.zeros - start))
        yield tail


def _sized(text: bytes | None) -> bytes:
    return varint(-1) if text is None else varint(len(text)) + text


def _packed(pieces: Iterable[bytes], codec: str, window_log: int | None) -> bytes:
    if codec == "none":
        return b"".join(pieces)
    if codec == "snappy":
        return bytes(pa.Codec("snappy").compress(b"".join(pieces)))
    if codec == "gzip":
        encoder: Any = zlib.compressobj(9, zlib.DEFLATED, 31)
    elif codec == "zstd":
        options: dict[int, int] = {zstd.CompressionParameter.compression_level: 3}
        if window_log is not None:
            options[zstd.CompressionParameter.window_log] = window_log
        encoder = zstd.ZstdCompressor(options=options)
    else:
        # Kafka takes no blocks that depend on each other.
        encoder = lz4.frame.LZ4FrameCompressor(block_linked=False)
        return b"".join([encoder.begin(), *map(encoder.compress, pieces), encoder.flush()])
    return b"".join([*map(encoder.compress, pieces), encoder.flush()])


def varint(number: int) -> bytes:
    """Return a number as records have them."""
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes(out) + bytes([left])


def _table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


_CRC_TABLE: Final = _table()


def _crc32c(data: bytes) -> int:
    """Return the Castagnoli checksum that brokers look at (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF

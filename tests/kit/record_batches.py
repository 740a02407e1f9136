"""Record batches made by hand and sent to a broker as they are: what no producer's library would send."""

from __future__ import annotations

import struct
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final, NamedTuple

import lz4.frame  # type: ignore[import-untyped]
import pyarrow as pa

from auditlog_consumer.fetch.link import Link
from auditlog_consumer.fetch.security import Security
from auditlog_consumer.fetch.unpack import CODECS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PRODUCE: Final = (0, 7)
_PIECE_BYTES: Final = 1 << 20


class Record(NamedTuple):
    """One record; `zeros` are appended to its value and take no memory of ours."""

    value: bytes | None
    key: bytes | None = None
    zeros: int = 0


def record_batch(records: Sequence[Record], codec: str = "none", *, window_log: int | None = None) -> bytes:
    """Return a record batch of format 2; its codec is one of `CODECS`."""
    millis = int(time.time() * 1000)
    data = _packed(_pieces(records), codec, window_log)
    rest = struct.pack(
        ">hiqqqhii", CODECS.index(codec), len(records) - 1, millis, millis, -1, -1, -1, len(records)
    )
    rest += data
    return struct.pack(">qiibI", 0, 9 + len(rest), -1, 2, _crc32c(rest)) + rest


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


def _pieces(records: Iterable[Record]) -> Iterator[bytes]:
    for number, record in enumerate(records):
        key = _varint(-1) if record.key is None else _varint(len(record.key)) + record.key
        value_size = -1 if record.value is None else len(record.value) + record.zeros
        head = b"\0" + _varint(0) + _varint(number) + key + _varint(value_size) + (record.value or b"")
        yield _varint(len(head) + record.zeros + 1) + head
        for start in range(0, record.zeros, _PIECE_BYTES):
            yield bytes(min(_PIECE_BYTES, record.zeros - start))
        yield b"\0"


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


def _varint(number: int) -> bytes:
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

"""From batches to the bytes of a file: the same events give the same bytes, on every run."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from auditlog_exports.columns import ABSENT, PARQUET_SCHEMA
from auditlog_exports.cut import Cutter, Limits, row_sizes, text_of
from auditlog_exports.job import Compression, Shape
from auditlog_storage.event_csv import csv_header

BLOCK_BYTES: Final = 1024 * 1024
"""What is compressed at a time: always the same pieces, because a compressor's output may depend on them."""
ROW_GROUP: Final = Limits(rows_max=50_000, bytes_max=32 * 1024 * 1024)
GZIP_LEVEL: Final = 4
_GZIP_FRAME: Final = 31


class Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, data: Any) -> int:
        """Keep a piece."""
        piece = bytes(data)
        self._kept.append(piece)
        return len(piece)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        kept, self._kept = self._kept, []
        return b"".join(kept)


class Compressor(Protocol):
    """Bytes in, bytes out; `finish` ends a frame, behind which another one may stand."""

    def write(self, data: bytes | memoryview) -> bytes:
        """Return what is ready after taking in some bytes."""

    def finish(self) -> bytes:
        """Return the rest."""


class _Plain:
    def write(self, data: bytes | memoryview) -> bytes:
        return bytes(data)

    def finish(self) -> bytes:
        return b""


class _Gzip:
    """One gzip member, without a time in it."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_FRAME)

    def write(self, data: bytes | memoryview) -> bytes:
        return self._stream.compress(data)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Zstd:
    """One zstd frame."""

    def __init__(self) -> None:
        self._sink = Sink()
        self._stream: Any = pa.CompressedOutputStream(pa.PythonFile(self._sink, "w"), "zstd")

    def write(self, data: bytes | memoryview) -> bytes:
        self._stream.write(data)
        return self._sink.take()

    def finish(self) -> bytes:
        self._stream.close()
        return self._sink.take()


_COMPRESSORS: Final[dict[Compression, Callable[[], Compressor]]] = {
    "none": _Plain,
    "gzip": _Gzip,
    "zstd": _Zstd,
}


def head_of(shape: Shape) -> bytes:
    """Return what every part begins with: the header of CSV, compressed by itself.

    A part without its head continues the part before it, so that one file can be made of all of them.
    """
    return _framed(csv_header().encode(), shape.compression) if shape.format == "csv" else b""


def file_bytes(shape: Shape, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    """Yield the bytes of a file that holds these batches."""
    if shape.format == "parquet":
        return _parquet(shape.compression, batches)
    return _lines(shape, batches)


def _framed(data: bytes, compression: Compression) -> bytes:
    compressor = _COMPRESSORS[compression]()
    return compressor.write(data) + compressor.finish()


def _lines(shape: Shape, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    yield head_of(shape)
    compressor = _COMPRESSORS[shape.compression]()
    wrote = False
    for block in _blocks(_texts(shape, batches)):
        wrote = True
        if ready := compressor.write(block):
            yield ready
    # Nothing at all is better than an empty frame.
    if wrote and (rest := compressor.finish()):
        yield rest


def _texts(shape: Shape, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes | memoryview]:
    for batch in batches:
        text: bytes | memoryview = text_of(batch)
        if shape.format == "jsonl":
            text = bytes(text)
            for absent in ABSENT:
                text = text.replace(absent, b"")
        yield text


def _blocks(texts: Iterator[bytes | memoryview]) -> Iterator[memoryview]:
    """Yield the same bytes in blocks of `BLOCK_BYTES`; only the last one is shorter."""
    block, filled = bytearray(BLOCK_BYTES), 0
    for text in texts:
        view = memoryview(text)
        while len(view):
            taken = view[: BLOCK_BYTES - filled]
            block[filled : filled + len(taken)] = taken
            filled += len(taken)
            view = view[len(taken) :]
            if filled == BLOCK_BYTES:
                yield memoryview(block)
                filled = 0
    if filled:
        yield memoryview(block)[:filled]


def _parquet(compression: Compression, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    cutter = Cutter(batches, row_sizes)
    return parquet_bytes(compression, _row_groups(cutter))


def _row_groups(cutter: Cutter) -> Iterator[pa.Table]:
    while cutter.has_more():
        pieces = list(cutter.piece(ROW_GROUP))
        yield pa.Table.from_batches(pieces).select(PARQUET_SCHEMA.names).cast(PARQUET_SCHEMA).combine_chunks()


def parquet_bytes(compression: Compression, row_groups: Iterator[pa.Table]) -> Iterator[bytes]:
    """Yield the bytes of a Parquet file, a row group at a time."""
    sink = Sink()
    with pq.ParquetWriter(
        pa.PythonFile(sink, "w"),
        PARQUET_SCHEMA,
        version="2.6",
        compression="zstd" if compression == "none" else compression,
        compression_level=1 if compression != "gzip" else GZIP_LEVEL,
        write_statistics=["occurred_at", "received_at", "action"],
    ) as writer:
        for table in row_groups:
            writer.write_table(table, row_group_size=max(1, table.num_rows))
            yield sink.take()
    yield sink.take()

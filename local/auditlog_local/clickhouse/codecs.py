"""Content codings of requests and responses: gzip, deflate, lz4 (frames) and zstd, always in a stream."""

from __future__ import annotations

import sys
import zlib
from typing import Protocol

import lz4.frame  # type: ignore[import-untyped]

from auditlog_local.clickhouse.errors import INCORRECT_DATA, UNKNOWN_COMPRESSION_METHOD, EngineError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Encoder(Protocol):
    """Compresses a response piece by piece."""

    def write(self, data: bytes) -> bytes:
        """The compressed bytes that are ready once ``data`` was added; may be empty."""

    def finish(self) -> bytes:
        """The rest, ending the stream."""


class _Plain:
    def write(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._codec = zlib.compressobj(3, zlib.DEFLATED, window_bits)

    def write(self, data: bytes) -> bytes:
        return self._codec.compress(data)

    def finish(self) -> bytes:
        return self._codec.flush()


class _Lz4:
    def __init__(self) -> None:
        self._codec = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        self._header: bytes = self._codec.begin()

    def write(self, data: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + bytes(self._codec.compress(data))

    def finish(self) -> bytes:
        header, self._header = self._header, b""
        return header + bytes(self._codec.flush())


class _Zstd:
    def __init__(self) -> None:
        self._codec = zstd.ZstdCompressor(level=1)

    def write(self, data: bytes) -> bytes:
        return self._codec.compress(data)

    def finish(self) -> bytes:
        return self._codec.flush(zstd.ZstdCompressor.FLUSH_FRAME)


# In ClickHouse's order of preference, `chooseHTTPCompressionMethod`.
RESPONSE_CODINGS = ("zstd", "lz4", "gzip", "deflate")


def choose_coding(accept_encoding: str) -> str | None:
    """The response coding for an Accept-Encoding header, None when the client names none of ours."""
    accepted = {part.partition(";")[0].strip().lower() for part in accept_encoding.split(",")}
    return next((coding for coding in RESPONSE_CODINGS if coding in accepted), None)


def encoder(coding: str | None) -> Encoder:
    """A fresh encoder; None gives one that changes nothing."""
    if coding is None:
        return _Plain()
    if coding == "zstd":
        return _Zstd()
    if coding == "lz4":
        return _Lz4()
    return _Zlib(31 if coding == "gzip" else 15)


class Decoder:
    """Decompresses a request body piece by piece; several frames or members after one another are one body.

    Raises (from `write` and `finish`):
        EngineError: the coding is unknown (89), or the bytes are not of that coding or end too early (117).
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding.strip().lower()
        if self._coding in ("", "identity"):
            self._coding = ""
        elif self._coding not in RESPONSE_CODINGS:
            raise EngineError(UNKNOWN_COMPRESSION_METHOD, f"Unknown compression method {coding!r}")
        self._codec = self._fresh()
        self._inside = False

    def _fresh(self) -> zlib._Decompress | lz4.frame.LZ4FrameDecompressor | zstd.ZstdDecompressor | None:
        if self._coding == "gzip":
            return zlib.decompressobj(31)
        if self._coding == "deflate":
            return zlib.decompressobj(15)
        if self._coding == "lz4":
            return lz4.frame.LZ4FrameDecompressor()
        return zstd.ZstdDecompressor() if self._coding == "zstd" else None

    def write(self, data: bytes) -> bytes:
        """The bytes that ``data`` adds to the decompressed body."""
        if self._codec is None or not data:
            return data
        pieces: list[bytes] = []
        try:
            while data:
                if self._codec.eof:
                    self._codec = self._fresh()
                    assert self._codec is not None
                pieces.append(bytes(self._codec.decompress(data)))
                data = bytes(self._codec.unused_data or b"") if self._codec.eof else b""
        except (zlib.error, zstd.ZstdError, RuntimeError, EOFError) as error:
            raise EngineError(INCORRECT_DATA, f"the body is not {self._coding}: {error}") from error
        self._inside = not self._codec.eof
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        """Says that the body has ended."""
        if self._inside:
            raise EngineError(INCORRECT_DATA, f"the {self._coding} body ends in the middle of its data")

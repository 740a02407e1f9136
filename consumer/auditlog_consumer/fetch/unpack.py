"""Decompressing a record batch within a bound, whatever it claims about itself."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Any, Final

import lz4.frame  # type: ignore[import-untyped]
import pyarrow as pa

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
"""By the number in a batch's attributes."""

_FIRST_BYTES: Final = 64 * 1024
_WINDOW_LOG_MAX: Final = 25
"""A frame's window is memory that the decoder takes before it knows what comes: at most 32 MiB. zstd's own
levels up to 19 use 8 MiB at most."""
_FRAMES_MAX: Final = 256
"""Of one batch: what is left is copied behind each, so a megabyte of empty ones would take very long."""
_BLOCKS_MAX: Final = 65_536
"""Of Java's snappy, whose blocks have a kilobyte at least: each takes microseconds, however small it is."""
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEAD_BYTES: Final = 16
_SNAPPY: Final = pa.Codec("snappy")


class TooLarge(Exception):
    """There is more in it than the bound, which the message names; how much more is not known."""


class Broken(Exception):
    """It is not what its codec writes."""


def unpack(codec: int, data: memoryview, bytes_max: int) -> bytes:
    """Return the decompressed bytes, in memory of about twice `bytes_max` at most.

    Raises:
        TooLarge: there are more than `bytes_max`.
        Broken: the bytes are not of this codec, or the codec is none of `CODECS`.
    """
    if not 0 < codec < len(CODECS):
        raise Broken(f"codec {codec} is unknown")
    try:
        return _UNPACK[CODECS[codec]](data, bytes_max)
    except TooLarge:
        raise TooLarge(f"{bytes_max:,} bytes") from None
    except (zlib.error, RuntimeError, EOFError, zstd.ZstdError, pa.ArrowException, OSError) as error:
        raise Broken(f"{CODECS[codec]}: {error}") from error


def _stream(make: Callable[[], Any], data: memoryview, bytes_max: int) -> bytes:
    """Decompress a stream of one or more frames by growing pieces.

    Args:
        make: returns a decompressor of the standard library's kind: `decompress(data, max_length)`, `eof`,
            `unused_data` and `needs_input`.
    """
    parts: list[bytes] = []
    frames, size, piece_bytes = 0, 0, max(_FIRST_BYTES, 4 * len(data))
    rest: bytes | memoryview = data
    while len(rest):
        frames += 1
        if frames > _FRAMES_MAX:
            raise Broken(f"more than {_FRAMES_MAX} frames")
        decoder = make()
        while not decoder.eof:
            # One byte more than the bound tells that there is more.
            piece = decoder.decompress(rest, min(piece_bytes, bytes_max + 1 - size))
            size += len(piece)
            if size > bytes_max:
                raise TooLarge
            if not piece and not decoder.eof:
                raise Broken("the data ends in the middle")
            parts.append(piece)
            piece_bytes, rest = 2 * piece_bytes, b""
        rest = decoder.unused_data or b""
    return parts[0] if len(parts) == 1 else b"".join(parts)


class _Gzip:
    """zlib's decompressor with the methods of the others: it hands back what it did not take yet."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        return self._decoder.decompress(data or self._decoder.unconsumed_tail, max_length)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data


def _zstd() -> Any:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})


def _snappy(data: memoryview, bytes_max: int) -> bytes:
    """Snappy says at the beginning how much there is; Java writes blocks of it, each with its length."""
    if bytes(data[: len(_XERIAL)]) != _XERIAL:
        return _snappy_block(data, bytes_max)
    # No list of blocks: each may have a single byte.
    unpacked = bytearray()
    at, blocks = _XERIAL_HEAD_BYTES, 0
    while at < len(data):
        blocks += 1
        if blocks > _BLOCKS_MAX:
            raise Broken(f"more than {_BLOCKS_MAX:,} blocks")
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 4 + size > len(data):
            raise Broken("a snappy block ends early")
        unpacked += _snappy_block(data[at + 4 : at + 4 + size], bytes_max - len(unpacked))
        at += 4 + size
    return bytes(unpacked)


def _snappy_block(data: memoryview, bytes_max: int) -> bytes:
    size, place = 0, 0
    for place, byte in enumerate(data[:5]):
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            break
    else:
        raise Broken("a snappy block has no length")
    if size > bytes_max:
        raise TooLarge
    # A few bytes can claim any length: no more than 64 bytes come of one copy of three bytes.
    if size > 64 * len(data) or (not size and len(data) > place + 1):
        raise Broken("a snappy block does not have the length that it claims")
    return _SNAPPY.decompress(pa.py_buffer(data), size, asbytes=True) if size else b""


_UNPACK: Final[dict[str, Callable[[memoryview, int], bytes]]] = {
    "gzip": lambda data, bytes_max: _stream(_Gzip, data, bytes_max),
    "snappy": _snappy,
    "lz4": lambda data, bytes_max: _stream(lz4.frame.LZ4FrameDecompressor, data, bytes_max),
    "zstd": lambda data, bytes_max: _stream(_zstd, data, bytes_max),
}

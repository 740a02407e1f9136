"""Decompression within a bound: what codecs write comes out whole, and whatever else comes in is refused."""

from __future__ import annotations

import gzip
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import lz4.frame  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog_consumer.fetch.unpack import CODECS, Broken, TooLarge, unpack
from kit.stopwatch import Stopwatch

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BYTES_MAX: Final = 200_000
SECONDS_MAX: Final = 5.0
"""For what takes a few hundredths, and would take minutes where it is not bounded."""
MB: Final = 1 << 20


def snappy(data: bytes) -> bytes:
    return bytes(pa.Codec("snappy").compress(data))


def xerial(data: bytes, block: int = 32_768) -> bytes:
    """Return what Java's SnappyOutputStream writes."""
    blocks = [snappy(data[at : at + block]) for at in range(0, len(data), block)]
    head = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
    return head + b"".join(struct.pack(">i", len(each)) + each for each in blocks)


def frames(codec: Callable[[bytes], bytes], data: bytes, count: int = 5) -> bytes:
    step = len(data) // count + 1
    return b"".join(codec(data[at : at + step]) for at in range(0, len(data) or 1, step))


def lz4_frame(**options: object) -> Callable[[bytes], bytes]:
    return lambda data: bytes(lz4.frame.compress(data, **options))


WRITERS: Final[dict[str, tuple[str, Callable[[bytes], bytes]]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip of several members": ("gzip", lambda data: frames(gzip.compress, data)),
    "gzip, stored": ("gzip", lambda data: gzip.compress(data, 0)),
    "snappy": ("snappy", snappy),
    "snappy as Java writes it": ("snappy", xerial),
    "snappy as Java writes it, in small blocks": ("snappy", lambda data: xerial(data, 100)),
    "lz4": ("lz4", lz4_frame()),
    "lz4 with its size": ("lz4", lz4_frame(store_size=True)),
    "lz4 without its size": ("lz4", lz4_frame(store_size=False)),
    "lz4 with checksums": ("lz4", lz4_frame(content_checksum=True, block_checksum=True)),
    "lz4 with blocks of their own": ("lz4", lz4_frame(block_linked=False, block_size=4)),
    "lz4 of several frames": ("lz4", lambda data: frames(lz4_frame(), data)),
    "zstd": ("zstd", zstd.compress),
    "zstd, level 19": ("zstd", lambda data: zstd.compress(data, 19)),
    "zstd of several frames": ("zstd", lambda data: frames(zstd.compress, data)),
    "zstd with a frame to skip": (
        "zstd",
        lambda data: b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd.compress(data),
    ),
}


def unpacked(codec: str, data: bytes, bytes_max: int = BYTES_MAX) -> bytes:
    return unpack(CODECS.index(codec), memoryview(data), bytes_max)


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=25)
@given(
    piece=st.binary(max_size=300),
    times=st.sampled_from([1, 2, 77, 500]),
    end=st.binary(max_size=3),
)
def test_what_was_written_comes_out(name: str, piece: bytes, times: int, end: bytes) -> None:
    codec, write = WRITERS[name]
    data = piece * times + end
    assert unpacked(codec, write(data)) == data


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("bytes_max", [1, 65_535, 65_536, 65_537, 131_072, 1_000_000])
def test_the_bound_is_exact(name: str, bytes_max: int) -> None:
    codec, write = WRITERS[name]
    for data in (bytes(bytes_max), b"a man a plan " * (bytes_max // 13) + b"x" * (bytes_max % 13)):
        assert unpacked(codec, write(data), bytes_max) == data
        with pytest.raises(TooLarge, match=rf"^{bytes_max:,} bytes$"):
            unpacked(codec, write(data + b"y"), bytes_max)


@pytest.mark.parametrize("name", WRITERS)
def test_data_that_was_cut_off_is_never_taken_for_whole(name: str) -> None:
    codec, write = WRITERS[name]
    data = b"".join(f"{number} {number * number}\n".encode() for number in range(300))
    written = write(data)
    parts = 0
    for size in range(1, len(written)):
        try:
            found = unpacked(codec, written[:size])
        except Broken:
            continue
        # Between two blocks or frames nothing tells that more has to come: the records' number will.
        assert data.startswith(found)
        assert len(found) < len(data)
        parts += 1
    assert parts < (100 if "small blocks" in name else 10 if name.rpartition(" ")[2] != name else 1)


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=150)
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4)), min_size=1, max_size=4))
def test_changed_bytes_are_refused_or_stay_within_the_bound(
    name: str, changes: list[tuple[int, bytes]]
) -> None:
    codec, write = WRITERS[name]
    written = bytearray(write(b"the quick brown fox " * 50 + bytes(2_000)))
    for at, octets in changes:
        start = at % (len(written) + 1)
        written[start : start + len(octets) // 2] = octets
    with suppress(Broken, TooLarge):
        assert len(unpacked(codec, bytes(written), 5_000)) <= 5_000


@settings(max_examples=300)
@given(codec=st.integers(-1, 9), data=st.binary(max_size=200))
def test_anything_at_all_is_refused_or_stays_within_the_bound(codec: int, data: bytes) -> None:
    with suppress(Broken, TooLarge):
        assert len(unpack(codec, memoryview(data), 500)) <= 500


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        ("gzip", gzip.compress(b"") * (4 * MB // 20)),
        ("zstd", zstd.compress(b"") * (4 * MB // 9)),
        ("zstd", b"\x50\x2a\x4d\x18\0\0\0\0" * (4 * MB // 8)),
        ("lz4", lz4.frame.compress(b"") * (4 * MB // 11)),
        ("lz4", b"\x50\x2a\x4d\x18\0\0\0\0" * (4 * MB // 8)),
    ],
    ids=["gzip", "zstd", "zstd to skip", "lz4", "lz4 to skip"],
)
def test_very_many_empty_frames_are_refused_soon(codec: str, data: bytes) -> None:
    watch = Stopwatch()
    with pytest.raises(Broken, match=r"frames|ends in the middle"):
        unpacked(codec, data)
    assert watch.seconds < SECONDS_MAX


def test_very_many_small_blocks_of_snappy_take_little_time() -> None:
    many = xerial(bytes(65_536), 1)
    watch = Stopwatch()
    assert unpacked("snappy", many) == bytes(65_536)
    with pytest.raises(Broken, match="more than 65,536 blocks"):
        unpacked("snappy", many + 1_000_000 * struct.pack(">ib", 1, 0))
    assert watch.seconds < SECONDS_MAX


@pytest.mark.parametrize(
    "claim",
    [b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\xa0\x8d\x06", b"\x80"],
)
def test_a_snappy_block_that_claims_more_than_it_has_takes_no_memory(claim: bytes) -> None:
    with pytest.raises((Broken, TooLarge)):
        unpacked("snappy", claim + b"\x00a", 1 << 30)


def test_a_window_that_is_larger_than_the_bound_is_refused() -> None:
    parameter = zstd.CompressionParameter
    encoder = zstd.ZstdCompressor(options={parameter.window_log: 27, parameter.compression_level: 1})
    with pytest.raises(Broken, match="zstd"):
        unpacked("zstd", encoder.compress(b"x" * 1_000) + encoder.flush())

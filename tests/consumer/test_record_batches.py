"""Record batches: each becomes exactly its messages, or exactly one place that is passed over."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kit.record_batches
from auditlog_consumer.fetch import batches as batches_module
from auditlog_consumer.fetch.batches import BATCH_BYTES_MAX, record_batches, take_apart, without_aborted
from auditlog_consumer.fetch.unpack import CODECS
from auditlog_consumer.messages import BATCH_BROKEN, BATCH_TOO_LARGE, Messages, PassedOver
from kit.record_batches import (
    LOG_APPEND_TIME,
    TRANSACTIONAL,
    Head,
    Record,
    Told,
    raw_batch,
    record_batch,
    told,
    varint,
)
from kit.stopwatch import Stopwatch

TESTS: Final = Path(__file__).parents[1]
OFFSET_MAX: Final = (1 << 63) - 1
YEAR_2299_MILLIS: Final = int(datetime(2300, 1, 1, tzinfo=UTC).timestamp()) * 1000 - 1
SECONDS_MAX: Final = 5.0
"""For what takes a few hundredths, and would take minutes where it is not bounded."""


@pytest.fixture(autouse=True, scope="module")
def _no_checksums() -> Iterator[None]:
    """Nobody looks at them here, and in Python they take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kit.record_batches, "_crc32c", lambda _: 0)
        yield


def apart(raw: bytes, from_offset: int = 0, bytes_max: int = BATCH_BYTES_MAX) -> list[Messages]:
    return list(take_apart(list(record_batches(memoryview(raw))), from_offset, bytes_max))


# What is right comes out whole.

texts = st.none() | st.binary(max_size=70) | st.integers(8_000, 9_000).map(lambda size: size * b"x")
headers = st.lists(st.tuples(st.binary(max_size=9), st.none() | st.binary(max_size=9)), max_size=3).map(tuple)


@dataclass
class Log:
    """A part of a partition's log, and what is in it."""

    raw: bytes = b""
    messages: list[Told] = field(default_factory=list)
    end: int = 0


@st.composite
def logs(draw: st.DrawFn, batches_max: int = 8) -> Log:
    """Batches of every codec, with the gaps that compaction leaves, some without any record."""
    log = Log(end=draw(st.sampled_from([0, 5, 1 << 40, OFFSET_MAX - 10_000])))
    for _ in range(draw(st.integers(1, batches_max))):
        log.end += draw(st.integers(0, 3))
        deltas = draw(st.lists(st.integers(1, 9), max_size=6))
        records, delta = [], -1
        first_millis, last_millis = draw(st.tuples(st.integers(0, 1 << 43), st.integers(0, 1 << 43)))
        received = draw(st.sampled_from([0, LOG_APPEND_TIME]))
        for step in deltas:
            delta += step
            record = Record(draw(texts), draw(texts), 0, delta, draw(st.integers(-99, 99_999)), draw(headers))
            records.append(record)
            millis = last_millis if received else max(first_millis + record.millis, 0)
            log.messages.append((log.end + delta, record.key, record.value, millis))
        last_delta = max(delta, 0) + draw(st.integers(0, 3))
        transactional = draw(st.sampled_from([0, TRANSACTIONAL]))
        head = Head(
            base=log.end,
            attributes=received | transactional,
            last_delta=last_delta,
            first_millis=first_millis,
            last_millis=last_millis,
        )
        codec = draw(st.sampled_from(CODECS))
        log.raw += record_batch(records, codec, head) if records else raw_batch(b"", 0, "none", head)
        log.end += last_delta + 1
    return log


@settings(max_examples=150)
@given(log=logs(), after=st.integers(0, 40), cut=st.integers(0, 60))
def test_every_message_comes_out_once_from_any_offset_on(log: Log, after: int, cut: int) -> None:
    from_offset = log.messages[0][0] + after if log.messages else after
    wanted = [message for message in log.messages if message[0] >= from_offset]
    assert told(apart(log.raw, from_offset)) == wanted
    # A batch that is cut off at the end adds nothing.
    assert told(apart(log.raw + log.raw[:cut], from_offset)) == wanted


@settings(max_examples=60)
@given(log=logs(), slice_max=st.integers(1, 9), together=st.sampled_from([1, 300, 20_000]))
def test_slices_and_batches_that_go_together_change_nothing(log: Log, slice_max: int, together: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches_module, "SLICE_RECORDS_MAX", slice_max)
        patch.setattr(batches_module, "TOGETHER_BYTES", together)
        assert told(apart(log.raw)) == log.messages


@pytest.mark.parametrize("codec", CODECS)
def test_the_numbers_at_both_ends_are_read(codec: str) -> None:
    """Times are kept within those that ClickHouse has."""
    last = OFFSET_MAX - 1
    records = [Record(None, None, 0, 0, -(1 << 63)), Record(b"", b"", 0, (1 << 31) - 1, (1 << 63) - 1)]
    head = Head(base=last - (1 << 31) + 1, last_delta=(1 << 31) - 1, first_millis=0)
    assert told(apart(record_batch(records, codec, head))) == [
        (last - (1 << 31) + 1, None, None, 0),
        (last, b"", b"", YEAR_2299_MILLIS),
    ]


# Whatever is wrong is one place.


def require_whole(raw: bytes, from_offset: int = 0, bytes_max: int = BATCH_BYTES_MAX) -> None:
    """Require of each batch that it is its messages and nothing else, or passed over as a whole."""
    for batch in record_batches(memoryview(raw)):
        assert 0 <= batch.first_offset <= batch.last_offset < OFFSET_MAX
        parts = list(take_apart([batch], from_offset, bytes_max))
        passed = [each for messages in parts for each in messages.passed]
        if passed:
            [messages], [place] = parts, passed
            assert len(messages) == 1
            assert place.first_offset == max(batch.first_offset, from_offset)
            assert messages.offsets.tolist() == [place.last_offset]
            assert place.last_offset == batch.last_offset
            assert bytes(place.raw) == bytes(batch.whole)
        else:
            offsets = [offset for messages in parts for offset in messages.offsets.tolist()]
            assert offsets == sorted(set(offsets))
            assert len(offsets) == batch.count or from_offset > batch.first_offset
            assert all(batch.first_offset <= offset <= batch.last_offset for offset in offsets)


@settings(max_examples=250)
@given(
    log=logs(batches_max=3),
    changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_changed_bytes_pass_over_whole_batches_or_nothing(log: Log, changes: list[tuple[int, int]]) -> None:
    raw = bytearray(log.raw)
    for at, octet in changes:
        raw[at % len(raw)] = octet
    require_whole(bytes(raw))


@settings(max_examples=300)
@given(
    data=st.lists(st.binary(max_size=12) | st.integers(-(1 << 63), (1 << 63) - 1).map(varint), max_size=12),
    count=st.integers(-3, 9),
    codec=st.sampled_from(CODECS),
)
def test_anything_at_all_in_a_batch_is_its_messages_or_passed_over(
    data: list[bytes], count: int, codec: str
) -> None:
    require_whole(raw_batch(b"".join(data), count, codec))


@settings(max_examples=300)
@given(
    base=st.integers(-(1 << 63), OFFSET_MAX) | st.sampled_from([-1, 0, OFFSET_MAX - 1, OFFSET_MAX]),
    size=st.none() | st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(-2, 120),
    magic=st.integers(-128, 127) | st.just(2),
    attributes=st.integers(-(1 << 15), (1 << 15) - 8).map(lambda number: number & ~7),
    last_delta=st.integers(-(1 << 31), (1 << 31) - 1),
    times=st.tuples(*[st.integers(-(1 << 63), (1 << 63) - 1)] * 2),
    count=st.none() | st.integers(-(1 << 31), (1 << 31) - 1),
    from_offset=st.sampled_from([0, 1, OFFSET_MAX - 1]),
)
def test_a_head_that_says_anything_at_all_is_bounded(
    base: int,
    size: int | None,
    magic: int,
    attributes: int,
    last_delta: int,
    times: tuple[int, int],
    count: int | None,
    from_offset: int,
) -> None:
    head = Head(base, size, 0, magic, attributes, last_delta, *times, 7, count)
    raw = record_batch([Record(b"a", b"b"), Record(None)], "none", head)
    found = list(record_batches(memoryview(raw)))
    assert len(found) <= 1
    if found and found[0].last_offset >= from_offset:
        require_whole(raw, from_offset)
    assert list(without_aborted(found, [(7, 0)])) in ([], found)


def passed_over(raw: bytes, bytes_max: int = BATCH_BYTES_MAX) -> PassedOver:
    [messages] = apart(raw, 0, bytes_max)
    [passed] = messages.passed
    assert len(messages) == 1
    return passed


def packed(*fields: bytes) -> bytes:
    """Return a record of some fields; its attributes come before them."""
    body = b"\0" + b"".join(fields)
    return varint(len(body)) + body


ZERO: Final = varint(0)
RIGHT: Final = packed(ZERO, ZERO, varint(1), b"k", varint(1), b"v", ZERO)
WRONG: Final = {
    "a size of many bytes": b"\xff" * (1 << 20),
    "a size of six bytes": b"\xff\xff\xff\xff\xff\x01" + RIGHT,
    "a negative size": varint(-5) + RIGHT[1:],
    "a negative size of two bytes": varint(-500) + RIGHT[1:],
    "a size of 2^31": varint(1 << 31) + RIGHT[1:],
    "a size that is one too large": varint(len(RIGHT)) + RIGHT[1:],
    "a size that is one too small": varint(len(RIGHT) - 2) + RIGHT[1:],
    "no bytes": b"",
    "a byte more": RIGHT + b"\0",
    "two records": RIGHT + RIGHT,
    "a key of -2": packed(ZERO, ZERO, varint(-2), varint(0), ZERO),
    "a key of 2^63 - 1": packed(ZERO, ZERO, varint(OFFSET_MAX), b"kk", ZERO),
    "a key of 2^62": packed(ZERO, ZERO, varint(1 << 62), b"kk", ZERO),
    "a key of -2^63": packed(ZERO, ZERO, varint(-(1 << 63)), b"kk", ZERO),
    "a key that ends behind its record": packed(ZERO, ZERO, varint(9), b"k", ZERO),
    "a value of -2": packed(ZERO, ZERO, varint(1), b"k", varint(-2), ZERO),
    "a value of 2^63 - 1": packed(ZERO, ZERO, varint(1), b"k", varint(OFFSET_MAX), b"vv", ZERO),
    "a value of 2^63 - 20": packed(ZERO, ZERO, varint(1), b"k", varint(OFFSET_MAX - 19), b"v", ZERO),
    "a value of -2^63": packed(ZERO, ZERO, varint(1), b"k", varint(-(1 << 63)), b"vv", ZERO),
    "a value that ends behind its record": packed(ZERO, ZERO, varint(1), b"k", varint(9), b"v", ZERO),
    "an offset below the first": packed(ZERO, varint(-1), varint(-1), varint(-1), ZERO),
    "an offset behind the last": packed(ZERO, varint(1), varint(-1), varint(-1), ZERO),
    "an offset of 2^63 - 1": packed(ZERO, varint(OFFSET_MAX), varint(-1), varint(-1), ZERO),
    "a number of eleven bytes": packed(b"\xff" * 10 + b"\x01", ZERO, varint(-1), varint(-1), ZERO),
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", WRONG)
def test_a_record_that_is_wrong_passes_over_its_batch_at_once(name: str, codec: str) -> None:
    raw = raw_batch(WRONG[name], 1, codec, Head(base=1 << 62))
    watch = Stopwatch()
    assert passed_over(raw).rule == BATCH_BROKEN
    assert watch.seconds < SECONDS_MAX


@pytest.mark.parametrize("name", WRONG)
def test_neighbours_of_a_wrong_batch_come_out(name: str) -> None:
    right = [record_batch([Record(b"v", b"k")], "lz4", Head(base=base, first_millis=5)) for base in (6, 8)]
    parts = apart(right[0] + raw_batch(WRONG[name], 1, "zstd", Head(base=7)) + right[1])
    [passed] = [each for messages in parts for each in messages.passed]
    assert (passed.first_offset, passed.last_offset) == (7, 7)
    others = [messages for messages in parts if not messages.passed]
    assert told(others) == [(6, b"k", b"v", 5), (8, b"k", b"v", 5)]


V: Final = [Record(b"v")]
WRONG_HEADS: Final = {
    "no messages, and bytes": (record_batch(V, "none", Head(count=0)), "0 messages"),
    "-1 messages": (record_batch(V, "none", Head(count=-1)), "less than no messages"),
    "-1 messages, no bytes": (raw_batch(b"", 0, "none", Head(count=-1)), "less than no messages"),
    "a message too many": (record_batch(V, "none", Head(count=2)), "2 messages"),
    "a message too few": (record_batch(V * 2, "none", Head(count=1)), "1 messages"),
    "a last offset that is too low": (record_batch(V * 2, "none", Head(last_delta=0)), "do not ascend"),
    "a negative last offset": (record_batch(V * 2, "none", Head(last_delta=-9)), "do not ascend"),
    "the same offset twice": (record_batch([Record(b"v", delta=1)] * 2), "do not ascend"),
    "offsets that descend": (record_batch([Record(b"v", delta=1), Record(b"v", delta=0)]), "do not ascend"),
    "a codec that nobody knows": (record_batch(V, "none", Head(attributes=5)), "an unknown codec"),
    "a codec that is not its own": (record_batch(V, "none", Head(attributes=1)), "gzip: "),
    "an older format": (record_batch(V, "none", Head(magic=1)), "format 1 of messages"),
    "a newer format": (record_batch(V, "none", Head(magic=3)), "format 3 of messages"),
}


@pytest.mark.parametrize("name", WRONG_HEADS)
def test_a_head_that_is_wrong_is_named(name: str) -> None:
    raw, said = WRONG_HEADS[name]
    passed = passed_over(raw)
    assert passed.rule == BATCH_BROKEN
    assert said in passed.detail


@pytest.mark.parametrize("count", [(1 << 19) + 1, (1 << 31) - 1])
def test_a_batch_that_claims_more_messages_than_are_taken_apart_is_not_looked_at(count: int) -> None:
    passed = passed_over(record_batch(V, "none", Head(count=count)))
    assert passed.rule == BATCH_TOO_LARGE
    assert "to more than 524,288 messages" in passed.detail


def test_a_message_from_before_record_batches_is_passed_over_alone() -> None:
    """Of format 1, without key and value: shorter than the head of a batch."""
    old = struct.pack(">qiibbqii", 3, 22, 0, 1, 0, 1_700_000_000_000, -1, -1)
    parts = apart(old + record_batch([Record(b"v")], "none", Head(base=4, first_millis=1)))
    assert [messages.offsets.tolist() for messages in parts] == [[3], [4]]
    assert "format 1 of messages" in parts[0].passed[0].detail


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "none"])
@pytest.mark.parametrize("more", [0, 1])
def test_the_bound_is_exact(codec: str, more: int) -> None:
    overhead = len(record_batch([Record(b"", None, 50_000)])) - len(raw_batch(b"", 0)) - 50_000
    raw = record_batch([Record(b"", None, 50_000)], codec)
    if more:
        assert passed_over(raw, overhead + 49_999).rule == BATCH_TOO_LARGE
    else:
        assert [message[2] for message in told(apart(raw, 0, overhead + 50_000))] == [bytes(50_000)]


def test_a_batch_that_is_passed_over_begins_where_one_reads_from() -> None:
    raw = raw_batch(b"wrong", 5, "none", Head(base=10))
    for from_offset, first in ((0, 10), (10, 10), (12, 12), (14, 14)):
        [messages] = apart(raw, from_offset)
        assert [(each.first_offset, each.last_offset) for each in messages.passed] == [(first, 14)]


_MEASURE: Final = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import kit.record_batches
from auditlog_consumer.fetch.batches import BATCH_BYTES_MAX, RECORDS_MAX, record_batches, take_apart
from auditlog_consumer.fetch.unpack import CODECS
from kit.record_batches import Head, Record, raw_batch, record_batch

kit.record_batches._crc32c = lambda _: 0
MB = 1 << 20
made = [record_batch([Record(b"", None, 28 * MB)], codec) for codec in ("gzip", "lz4", "zstd")]
made += [record_batch([Record(b"", None, 90 * MB)], codec) for codec in ("gzip", "lz4", "zstd")]
for count in (RECORDS_MAX, RECORDS_MAX + 1):
    made.append(raw_batch(b"\\x0c\\0\\0\\0\\x01\\x01\\0" * count, count, "zstd"))
made += [raw_batch(bytes(20 * MB), RECORDS_MAX, "zstd"), raw_batch(b"\\xff" * (20 * MB), RECORDS_MAX, "gzip")]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for raw in made * 2:
    for messages in take_apart(list(record_batches(memoryview(raw))), 0):
        del messages
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_is_bounded_whatever_comes() -> None:
    """Peak above what the process had before, in MiB; a bound of 32 MiB, with copies of what it holds."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(TESTS)], capture_output=True, text=True, timeout=300, check=True
    )
    assert int(done.stdout) < 140

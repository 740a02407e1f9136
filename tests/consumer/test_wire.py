"""Kafka's protocol in bytes: the answers of a broker are read, and garbage is refused as such."""

from __future__ import annotations

import struct
from contextlib import closing, suppress
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog_consumer.fetch import wire
from auditlog_consumer.fetch.bootstrap import addresses
from auditlog_consumer.fetch.link import Link
from auditlog_consumer.fetch.security import Security
from auditlog_consumer.topics import Topics
from auditlog_schemas.errors import BrokerUnavailable
from kit.record_batches import Record, record_batch, send
from kit.stopwatch import Stopwatch

SECONDS_MAX: Final = 5.0


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def numbers(*values: int) -> bytes:
    """Return an array of numbers."""
    return struct.pack(f">i{len(values)}i", len(values), *values)


def compact(data: bytes) -> bytes:
    assert len(data) < 127
    return bytes([len(data) + 1]) + data


NULL: Final = struct.pack(">h", -1)
NO_TAGS: Final = b"\0"
METADATA: Final = (
    struct.pack(">ii", 0, 2)
    + (struct.pack(">i", 1) + text("one.example") + struct.pack(">i", 9092) + NULL)
    + (struct.pack(">i", 2) + text("2001:db8::2") + struct.pack(">i", 9093) + text("rack"))
    + (NULL + struct.pack(">ii", 1, 1))
    + (struct.pack(">h", 0) + text("events") + b"\0" + struct.pack(">i", 3))
    + (struct.pack(">hii", 0, 0, 2) + numbers(1, 2) + numbers(2))
    + (struct.pack(">hii", 5, 1, -1) + numbers(1) + numbers())
    + (struct.pack(">hii", 0, 2, 1) + numbers(1) + numbers(1))
)
"""Two brokers, and three partitions of which one has no leader."""
RECORDS: Final = b"what a batch may be"
FETCHED: Final = (
    (NO_TAGS + struct.pack(">ihi", 0, 0, 0) + b"\2" + compact(b"events") + b"\4")
    + (struct.pack(">ihqqq", 0, 0, 9, 7, 0) + b"\3" + struct.pack(">qq", 5, 3) + NO_TAGS)
    + (struct.pack(">qq", 6, 4) + NO_TAGS + struct.pack(">i", -1) + compact(RECORDS) + NO_TAGS)
    + (struct.pack(">ihqqq", 1, 1, -1, -1, -1) + b"\0" + struct.pack(">i", -1) + b"\0" + NO_TAGS)
    + (struct.pack(">ihqqq", 2, 0, 9, 9, 0) + b"\1" + struct.pack(">i", -1) + b"\1")
    # Two tagged fields: where the log parts from the one that was read, and another one.
    + (b"\2\0\x0d" + struct.pack(">iq", 3, 6) + NO_TAGS + b"\1\2xy")
    + (NO_TAGS + NO_TAGS)
)
"""Three partitions: one with records, one out of range, one whose log was cut."""


def test_metadata_is_read() -> None:
    found = wire.read_metadata(METADATA)
    assert (found.error, found.count) == (0, 3)
    assert found.leaders == {0: ("2001:db8::2", 9093), 2: ("one.example", 9092)}


def test_an_answer_to_a_fetch_is_read() -> None:
    error, [first, second, third] = wire.read_fetched(FETCHED)
    assert error == 0
    assert (first.partition, first.error, first.stable_end) == (0, 0, 7)
    assert first.aborted == ((5, 3), (6, 4))
    assert bytes(first.records) == RECORDS
    assert (second.partition, second.error, bytes(second.records)) == (1, wire.OFFSET_OUT_OF_RANGE, b"")
    assert (third.partition, third.cut_at) == (2, 6)
    assert first.cut_at is second.cut_at is None


ANSWERS: Final = {"metadata": (wire.read_metadata, METADATA), "fetch": (wire.read_fetched, FETCHED)}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_ends_early_is_refused(name: str) -> None:
    read, body = ANSWERS[name]
    # The last byte of a fetch's answer, its own tags, is not looked at.
    for size in range(len(body) - 1):
        with pytest.raises(BrokerUnavailable, match="ends early"):
            read(body[:size])


@pytest.mark.parametrize("name", ANSWERS)
@settings(max_examples=500)
@given(changes=st.lists(st.tuples(st.integers(0, 500), st.binary(max_size=8)), min_size=1, max_size=4))
def test_garbage_is_read_or_refused(name: str, changes: list[tuple[int, bytes]]) -> None:
    read, body = ANSWERS[name]
    garbled = bytearray(body)
    for at, octets in changes:
        garbled[at % len(body) : at % len(body) + len(octets)] = octets
    with suppress(BrokerUnavailable):
        read(garbled)


@pytest.mark.parametrize("name", ANSWERS)
@settings(max_examples=200)
@given(body=st.binary(max_size=100))
def test_anything_at_all_is_read_or_refused(name: str, body: bytes) -> None:
    with suppress(BrokerUnavailable):
        ANSWERS[name][0](body)


@pytest.mark.parametrize("octet", [b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff"])
@pytest.mark.parametrize("name", ANSWERS)
def test_long_garbage_is_read_or_refused_soon(name: str, octet: bytes) -> None:
    watch = Stopwatch()
    with suppress(BrokerUnavailable):
        ANSWERS[name][0](octet * (1 << 20))
    assert watch.seconds < SECONDS_MAX


@pytest.mark.integration
def test_the_broker_s_own_answers_are_read_and_refused_when_they_are_cut_off(kafka_bootstrap: str) -> None:
    Topics(kafka_bootstrap).ensure("wire", "wire.dead", partitions=3)
    batch = record_batch([Record(b"v", b"k")], "zstd")
    send(kafka_bootstrap, "wire", 1, batch)
    [address] = addresses(kafka_bootstrap)
    request = wire.fetch_request(
        "wire",
        [(0, 0, -1), (1, 0, -1), (2, 99, -1)],
        wait_millis=100,
        bytes_max=1 << 20,
        partition_bytes_max=1 << 20,
    )
    with closing(Link(address, Security(), "test")) as link:
        metadata = link.ask(wire.METADATA, wire.metadata_request("wire"))
        fetched = link.ask(wire.FETCH, request)
        unknown = link.ask(wire.METADATA, wire.metadata_request("no-such-topic"))
    assert wire.read_metadata(metadata) == wire.Metadata(0, dict.fromkeys(range(3), address), 3)
    assert wire.read_metadata(unknown) == wire.Metadata(wire.UNKNOWN_TOPIC_OR_PARTITION, {}, 0)
    error, found = wire.read_fetched(fetched)
    by_number = {one.partition: one for one in found}
    assert error == 0
    assert [by_number[number].error for number in range(3)] == [0, 0, wire.OFFSET_OUT_OF_RANGE]
    assert [by_number[number].stable_end for number in range(2)] == [0, 1]
    # The broker writes the epoch of its leader and the time.
    assert bytes(by_number[1].records[61:]) == batch[61:]
    for size in range(len(metadata)):
        with pytest.raises(BrokerUnavailable, match="ends early"):
            wire.read_metadata(metadata[:size])
    for size in range(len(fetched) - 1):
        with pytest.raises(BrokerUnavailable, match="ends early"):
            wire.read_fetched(fetched[:size])

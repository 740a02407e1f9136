"""What listens in a broker's place, and brokers that answer nonsense: told, waited for, never the end."""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pytest

from auditlog_consumer.fetch import link as link_module
from auditlog_consumer.fetch.link import Link
from auditlog_consumer.fetch.security import Login, Security
from auditlog_consumer.fetch.wire import FETCH, METADATA, SASL_AUTHENTICATE, SASL_HANDSHAKE, metadata_request
from auditlog_consumer.topics import Topics
from auditlog_schemas.errors import AuditError, BrokerUnavailable, ConfigError
from kit.false_broker import Answer, Pieces, false_broker, false_leader, fetched, framed, leads
from kit.fetching import fetching
from kit.record_batches import Head, Record, record_batch, send

TOPIC: Final = "events"
NOISE: Final = random.Random(5).randbytes(3_000)


def three_messages(base: int = 0) -> bytes:
    return record_batch([Record(b"v")] * 3, "none", Head(base=base))


# Where a broker should be.


def said(body: bytes) -> Answer:
    """Return an answer with this body to everything."""
    return lambda _, correlation: [framed(correlation, body)]


NONSENSE: Final[dict[str, Answer]] = {
    "random bytes": lambda *_: [NOISE],
    "a page": lambda *_: [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"],
    "a negative size": lambda _, correlation: [struct.pack(">i", -5) + correlation],
    "a size of nothing": lambda _, correlation: [struct.pack(">i", 0) + correlation],
    "another request's answer": lambda *_: [framed(b"\x7f\x7f\x7f\x7f", NOISE)],
    "an answer of nothing": said(b""),
    "an answer of noise": said(NOISE),
    "an answer of 255s": said(b"\xff" * 100_000),
    "a broker with a port that cannot be": said(leads(TOPIC, "127.0.0.1", 1 << 30)),
    "a broker with a negative port": said(leads(TOPIC, "127.0.0.1", -1)),
    "a broker with a name that cannot be": said(leads(TOPIC, "a\0b", 9)),
    "a broker with a name of dots": said(leads(TOPIC, "..", 9)),
}


@pytest.mark.integration
@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_no_broker_is_told_and_the_next_one_is_asked(kafka_bootstrap: str, name: str) -> None:
    Topics(kafka_bootstrap).ensure(TOPIC, f"{TOPIC}.dead", 1)
    send(kafka_bootstrap, TOPIC, 0, record_batch([Record(b"v")]))
    with (
        false_broker(NONSENSE[name]) as false,
        fetching(f"{false.address},{kafka_bootstrap}", TOPIC, {0: 0}) as read,
    ):
        if "a broker with" in name:
            # It is believed, and cannot be reached.
            read.until(lambda: len(read.trouble) > 3)
        else:
            read.until_offset(0)
            assert any(
                f"{false.port}" in trouble or "sent an answer that" in trouble for trouble in read.trouble
            )
        assert not read.failures


@pytest.mark.integration
def test_a_broker_that_never_answers_is_passed_over(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "ANSWER_SECONDS_MAX", 0.5)
    Topics(kafka_bootstrap).ensure(TOPIC, f"{TOPIC}.dead", 1)
    send(kafka_bootstrap, TOPIC, 0, record_batch([Record(b"v")]))
    with (
        false_broker(lambda *_: []) as false,
        fetching(f"{false.address},{kafka_bootstrap}", TOPIC, {0: 0}) as read,
    ):
        read.until_offset(0)
        assert f"Kafka at {false.address}: timed out" in read.trouble


@pytest.mark.parametrize(("pause", "comes"), [(0.1, False), (0.001, True)])
def test_an_answer_by_drops_has_its_time_and_no_more(
    monkeypatch: pytest.MonkeyPatch, pause: float, comes: bool
) -> None:
    monkeypatch.setattr(link_module, "ANSWER_SECONDS_MAX", 0.5)
    # For 1,000 bytes: 4 seconds more.
    monkeypatch.setattr(link_module, "ANSWER_BYTES_PER_SECOND_MIN", 250)

    def by_drops(_: int, correlation: bytes) -> Iterator[bytes]:
        yield struct.pack(">i", 1_004) + correlation
        for _ in range(1_000):
            time.sleep(pause)
            yield b"x"

    with (
        false_broker(by_drops) as false,
        closing(Link(("127.0.0.1", false.port), Security(), "test")) as link,
    ):
        started = time.monotonic()
        if comes:
            assert link.ask(METADATA, metadata_request()) == b"x" * 1_000
        else:
            with pytest.raises(BrokerUnavailable, match="timed out"):
                link.ask(METADATA, metadata_request())
            assert 4 < time.monotonic() - started < 20


# A leader.

CUT: Final = three_messages()[:-1]

BAD_ANSWERS: Final[dict[str, tuple[bytes, str]]] = {
    "a batch that is cut off": (fetched(TOPIC, CUT), "less than a whole batch came"),
    "noise for records": (fetched(TOPIC, NOISE[:500]), "less than a whole batch came"),
    "a batch of a negative offset": (fetched(TOPIC, three_messages(-9)), "less than a whole batch came"),
    "an error that nobody knows": (fetched(TOPIC, b"", error=999), "error 999"),
    "an answer that ends early": (fetched(TOPIC, three_messages())[:40], "ends early"),
    "an error of the whole": (b"\0" + struct.pack(">ihi", 0, 71, 0) + b"\1\0", "error 71"),
    "noise": (NOISE, ""),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_leader_that_answers_nonsense_is_asked_again_with_pauses(name: str) -> None:
    """And when it has come to its senses, nothing is missing."""
    body, words = BAD_ANSWERS[name]
    sound = threading.Event()

    def fetch(correlation: bytes) -> Pieces:
        return [framed(correlation, fetched(TOPIC, three_messages(), end=3) if sound.is_set() else body)]

    with false_leader(TOPIC, fetch) as false, fetching(false.address, TOPIC, {0: 0}) as read:
        read.until(lambda: any(words in trouble for trouble in read.trouble))
        before = false.count(FETCH)
        read.for_seconds(1.5)
        assert false.count(FETCH) - before < 40
        assert not read.offsets()
        sound.set()
        read.until_offset(2)
        assert read.offsets() == [0, 1, 2]
        assert not read.failures


def test_messages_before_what_was_asked_for_do_not_come() -> None:
    """A broker sends whole batches, also when one asks from the middle on, and the same ones again."""
    body = fetched(TOPIC, three_messages() + three_messages(3), end=6)
    with (
        false_leader(TOPIC, lambda correlation: [framed(correlation, body)]) as false,
        fetching(false.address, TOPIC, {0: 2}) as read,
    ):
        read.until(lambda: read.ends())
        read.for_seconds(0.5)
        assert read.offsets() == [2, 3, 4, 5]
        assert read.ends() == [6]


def test_a_leader_that_closes_its_connections_now_and_then_is_no_trouble() -> None:
    """As one does whose connections were idle, or whose logins are over."""
    answers = iter(range(60))

    def fetch(correlation: bytes) -> Iterator[bytes]:
        number = next(answers, 60)
        if number % 2:
            raise ConnectionAbortedError
        time.sleep(0.01)
        yield framed(correlation, fetched(TOPIC, three_messages(3 * number // 2), end=90))

    with false_leader(TOPIC, fetch) as false, fetching(false.address, TOPIC, {0: 0}) as read:
        read.until_offset(89)
        assert read.offsets() == list(range(90))
        assert not read.trouble


# Logins.


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("name", ["random bytes", "a page", "an answer of nothing", "an answer of 255s"])
def test_a_login_at_what_is_no_broker_fails_with_an_error_of_ours(mechanism: str, name: str) -> None:
    with false_broker(NONSENSE[name]) as false, pytest.raises((BrokerUnavailable, ConfigError)):
        Link(("127.0.0.1", false.port), Security(login=Login(mechanism, "a", "b")), "test")


@pytest.mark.parametrize("first", [b"", b"\xff\xfe", b"r=,s=,i=1", b"e=other-error", NOISE[:300]])
def test_a_broker_that_does_not_speak_scram_is_refused(first: bytes) -> None:
    def answer(key: int, correlation: bytes) -> Pieces:
        if key == SASL_HANDSHAKE[0]:
            return [framed(correlation, struct.pack(">hi", 0, 0))]
        assert key == SASL_AUTHENTICATE[0]
        return [framed(correlation, struct.pack(">hhi", 0, -1, len(first)) + first)]

    with false_broker(answer) as false, pytest.raises(AuditError, match="SCRAM-SHA-512: "):
        Link(("127.0.0.1", false.port), Security(login=Login("SCRAM-SHA-512", "a", "b")), "test")

"""The group member on a real broker: from the start it is given, every offset comes, in order and once."""

from __future__ import annotations

import threading
import time

import pytest

import auditlog_consumer.group
from auditlog_consumer.acknowledged import AcknowledgedWriter, Outgoing
from auditlog_consumer.group import GroupMember
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import Topics

pytestmark = pytest.mark.integration


def read_while_writing(kafka: str, topic: str, start: int, messages: int) -> dict[int, list[int]]:
    """Join, start each partition a little after it was given, and read so many messages."""
    settings = ConsumerSettings.load(kafka=kafka, topic=topic, group=f"{topic}-{start}")
    member, given = GroupMember(settings), list[int]()
    found: dict[int, list[int]] = {}
    member.join(given.extend, lambda _: None, lambda _: None)
    deadline = time.monotonic() + 120
    try:
        while sum(map(len, found.values())) < messages:
            assert time.monotonic() < deadline, f"stands still: {found}"
            for number in given:
                member.start(number, start)
            given.clear()
            for number, received in member.poll(1_000, 0.01).messages.items():
                found.setdefault(number, []).extend(received.offsets.tolist())
    finally:
        member.close()
    return found


def test_no_offset_is_skipped_while_a_producer_writes(kafka_bootstrap: str) -> None:
    topic, stop = f"group-{time.monotonic_ns()}", threading.Event()
    Topics(kafka_bootstrap).ensure(topic, f"{topic}.dead")
    writer = AcknowledgedWriter(kafka_bootstrap)

    def write() -> None:
        while not stop.is_set():
            writer.write(topic, [Outgoing(str(i).encode(), b"x") for i in range(40)])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for start in range(8):
            for offsets in read_while_writing(kafka_bootstrap, topic, start, 400).values():
                assert offsets == list(range(start, start + len(offsets)))
    finally:
        stop.set()
        thread.join(120)
        writer.close()


def test_a_paused_partition_is_read_after_another_start(kafka_bootstrap: str) -> None:
    """librdkafka remembers a pause beyond the assignment it was made in."""
    topic = f"group-{time.monotonic_ns()}"
    Topics(kafka_bootstrap).ensure(topic, f"{topic}.dead", partitions=1)
    writer = AcknowledgedWriter(kafka_bootstrap)
    writer.write(topic, [Outgoing(b"k", b"x")] * 10)
    writer.close()
    member, given = (
        GroupMember(ConsumerSettings.load(kafka=kafka_bootstrap, topic=topic, group=topic)),
        list[int](),
    )
    member.join(given.extend, lambda _: None, lambda _: None)
    try:
        deadline = time.monotonic() + 120
        while not given:
            assert time.monotonic() < deadline
            member.poll(100, 0.05)
        member.start(0, 0)
        member.pause([0])
        member.start(0, 5)
        found: list[int] = []
        while len(found) < 5:
            assert time.monotonic() < deadline, "the partition is not read"
            for received in member.poll(100, 0.05).messages.values():
                found += received.offsets.tolist()
    finally:
        member.close()
    assert found == [5, 6, 7, 8, 9]


def test_a_member_that_lost_its_partitions_joins_again(kafka_bootstrap: str) -> None:
    """It did not poll for too long, as when its process was stopped."""
    topic = f"group-{time.monotonic_ns()}"
    Topics(kafka_bootstrap).ensure(topic, f"{topic}.dead")
    settings = ConsumerSettings.load(
        kafka=kafka_bootstrap,
        topic=topic,
        group=topic,
        session_timeout_seconds=6.0,
        kafka_config={"max.poll.interval.ms": "6000"},
    )
    member, given, lost = GroupMember(settings), list[int](), list[int]()
    member.join(given.extend, lambda _: None, lost.extend)

    def poll_until_given() -> None:
        deadline = time.monotonic() + 120
        while len(given) < 8:
            assert time.monotonic() < deadline, f"given {given}, lost {lost}"
            member.poll(10, 0.05)

    try:
        poll_until_given()
        member.start(0, 0)
        given.clear()
        time.sleep(7)
        poll_until_given()
        assert sorted(lost) == list(range(8))
        writer = AcknowledgedWriter(kafka_bootstrap)
        writer.write(topic, [Outgoing(str(i).encode(), b"x") for i in range(80)])
        writer.close()
        for number in range(8):
            member.start(number, 0)
        found = 0
        deadline = time.monotonic() + 120
        while found < 80:
            assert time.monotonic() < deadline, f"read {found}"
            found += sum(map(len, member.poll(100, 0.05).messages.values()))
    finally:
        member.close()


def test_a_member_that_the_group_forgot_joins_again(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client tells nobody: it has no partition, waits for one, and is in no group."""
    monkeypatch.setattr(auditlog_consumer.group, "IDLE_SESSIONS", 0.5)
    topic = f"group-{time.monotonic_ns()}"
    Topics(kafka_bootstrap).ensure(topic, f"{topic}.dead")
    settings = ConsumerSettings.load(
        kafka=kafka_bootstrap, topic=topic, group=topic, session_timeout_seconds=6.0
    )
    member, given = GroupMember(settings), list[int]()
    member.join(given.extend, lambda _: None, lambda _: None)
    member._consumer.unsubscribe()
    try:
        deadline = time.monotonic() + 120
        while len(given) < 8:
            assert time.monotonic() < deadline, f"given {given}"
            member.poll(10, 0.05)
    finally:
        member.close()
    assert sorted(given) == list(range(8))

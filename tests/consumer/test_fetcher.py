"""The fetcher on a real broker: every message once and in order, whatever happens to broker and log."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Final

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from auditlog_consumer.fetch import fetcher as fetcher_module
from auditlog_consumer.fetch import link as link_module
from auditlog_consumer.fetch.batches import RecordBatch, take_apart
from auditlog_consumer.fetch.inbox import QUEUED_BYTES_MAX
from auditlog_consumer.messages import Messages
from auditlog_consumer.topics import Topics
from auditlog_local.child import Child
from auditlog_local.ports import free_ports
from kit.fetching import SECONDS_MAX, fetching
from kit.record_batches import Record, record_batch, send
from kit.servers import own_kafka

pytestmark = pytest.mark.integration

MB: Final = 1 << 20


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, str]]:
    with own_kafka(tmp_path_factory.mktemp("fetcher")) as started:
        yield started


@pytest.fixture
def kafka(broker: tuple[Child, str]) -> str:
    return broker[1]


@pytest.fixture
def topic(kafka: str) -> str:
    return make_topic(kafka)


def make_topic(kafka: str, partitions: int = 2) -> str:
    name = f"events-{uuid.uuid4().hex[:8]}"
    Topics(kafka).ensure(name, f"{name}.dead", partitions)
    return name


def publish(kafka: str, topic: str, count: int, partition: int = 0, size: int = 5) -> int:
    """Publish some messages in one batch; return the offset behind them."""
    records = [Record(random.Random(number).randbytes(size)) for number in range(count)]
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        try:
            return send(kafka, topic, partition, record_batch(records, "lz4")) + count
        except AssertionError:
            # A broker that has just been started does not lead yet.
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_broker_that_is_killed_and_started_again_is_read_on(broker: tuple[Child, str], topic: str) -> None:
    child, kafka = broker
    end = publish(kafka, topic, 100)
    with fetching(kafka, topic, {0: 0, 1: 0}) as read:
        read.until_offset(end - 1)
        child.kill()
        read.until(lambda: read.trouble)
        read.for_seconds(1.0)
        told = len(read.trouble)
        child.start()
        child.wait_ready()
        end = publish(kafka, topic, 100)
        publish(kafka, topic, 5, partition=1)
        read.until_offset(end - 1)
        read.until_offset(4, partition=1)
        assert read.offsets() == list(range(end))
        assert read.offsets(1) == list(range(5))
    assert told < 30, "it is asked again and again"
    assert not read.failures


def test_retention_that_overtakes_the_position_is_told_once(kafka: str, topic: str) -> None:
    end = publish(kafka, topic, 100)
    admin = AdminClient({"bootstrap.servers": kafka})
    [deleted] = admin.delete_records([TopicPartition(topic, 0, 60)]).values()
    deleted.result(60)
    with fetching(kafka, topic, {0: 10}) as read:
        read.until(lambda: read.out_of_range())
        read.for_seconds(1.5)
        assert read.out_of_range() == 1
        assert not read.offsets()
        read.fetcher.start(0, 60)
        read.until_offset(end - 1)
        assert read.offsets() == list(range(60, end))
        # Behind the end is as far out.
        read.fetcher.start(0, end + 5)
        read.until(lambda: read.out_of_range() > 1)
        assert not read.trouble


def test_a_paused_partition_waits_until_it_is_resumed_or_started_again(kafka: str, topic: str) -> None:
    publish(kafka, topic, 10)
    with fetching(kafka, topic, {0: 0, 1: 0}) as read:
        read.until_offset(9)
        read.until(lambda: read.ends(0) and read.ends(1))
        read.fetcher.pause([0])
        # What was asked for before may still come.
        read.for_seconds(0.3)
        publish(kafka, topic, 10)
        publish(kafka, topic, 10, partition=1)
        read.until_offset(9, partition=1)
        read.for_seconds(0.5)
        assert read.offsets() == list(range(10))
        read.fetcher.pause([0, 99], paused=False)
        read.until_offset(19)
        read.fetcher.pause([0])
        read.fetcher.start(0, 15)
        read.until(lambda: len(read.offsets()) == 25)
        assert read.offsets() == [*range(20), *range(15, 20)]


def test_another_start_drops_what_waits_to_be_taken(kafka: str, topic: str) -> None:
    publish(kafka, topic, 100)
    with fetching(kafka, topic, {0: 0}) as read:
        read.fetcher.wait(SECONDS_MAX)
        read.fetcher.start(0, 50)
        read.until_offset(99)
        assert read.offsets() == list(range(50, 100))
        read.fetcher.start(0, 0)
        read.fetcher.wait(SECONDS_MAX)
        read.fetcher.stop(0)
        read.for_seconds(0.5)
        assert len(read.offsets()) == 50
        assert read.fetcher._queued_bytes == 0


def test_an_end_is_told_once_and_behind_its_messages(kafka: str, topic: str) -> None:
    publish(kafka, topic, 25)
    with fetching(kafka, topic, {0: 0}) as read:
        while 24 not in read.offsets():
            assert not read.ends()
            read.take(messages_max=4)
        read.for_seconds(1.0)
        assert read.ends() == [25]
        publish(kafka, topic, 1)
        read.until_offset(25)
        read.for_seconds(0.5)
        assert read.ends() == [25, 26]
        # From another start on it is told anew, also where nothing is read.
        read.fetcher.start(0, 26)
        read.until(lambda: len(read.ends()) == 3)
        assert read.ends() == [25, 26, 26]


def test_a_topic_that_comes_to_be_and_is_deleted_and_made_again(kafka: str) -> None:
    topic = f"later-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka})
    with fetching(kafka, topic, {0: 0}) as read:
        read.until(lambda: read.topic_is_unknown)
        Topics(kafka).ensure(topic, f"{topic}.dead", 1)
        publish(kafka, topic, 10)
        read.until_offset(9)
        read.polls.clear()
        admin.delete_topics([topic])[topic].result(60)
        read.until(lambda: read.topic_is_unknown)
        Topics(kafka).ensure(topic, f"{topic}.dead", 1)
        publish(kafka, topic, 3)
        # Which topic it is now, only who started can know.
        read.fetcher.start(0, 0)
        read.until(lambda: read.offsets() == [0, 1, 2])


def test_a_partition_that_does_not_exist_is_told_and_keeps_nobody_up(kafka: str, topic: str) -> None:
    publish(kafka, topic, 5)
    with fetching(kafka, topic, {0: 0, 7: 0}) as read:
        read.until_offset(4)
        read.until(lambda: f"Kafka names no leader of {topic}/7" in read.trouble)
        read.fetcher.stop(7)
        read.for_seconds(0.5)
        told = len(read.trouble)
        read.for_seconds(1.0)
        assert len(read.trouble) == told


def test_a_full_queue_is_bounded_and_holds_nobody_up_for_good(kafka: str, topic: str) -> None:
    """Also when nothing but a paused partition fills it."""
    large = record_batch([Record(random.Random(1).randbytes(MB - 1_000))])
    for _ in range(60):
        end = send(kafka, topic, 0, large) + 1
    publish(kafka, topic, 10, partition=1)
    with fetching(kafka, topic, {0: 0}) as read:
        deadline = time.monotonic() + SECONDS_MAX
        while read.fetcher._queued_bytes < QUEUED_BYTES_MAX:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        read.fetcher.pause([0])
        read.fetcher.start(1, 0)
        time.sleep(0.5)
        assert read.fetcher._queued_bytes < QUEUED_BYTES_MAX + 2 * MB
        read.until_offset(9, partition=1)
        assert len(read.offsets()) < end, "the pause did not hold"
        read.fetcher.pause([0], paused=False)
        read.until_offset(end - 1)
        assert read.offsets() == list(range(end))
        assert read.offsets(1) == list(range(10))
        assert read.fetcher._queued_bytes == 0


def test_a_batch_that_is_larger_than_what_is_asked_for_comes_whole(
    kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetcher_module, "PARTITION_BYTES_MAX", 1_000)
    monkeypatch.setattr(fetcher_module, "ANSWER_BYTES_MAX", 2_000)
    ends = {}
    for partition in (0, 1):
        for size in (10, 700_000, 10, 300_000, 500):
            ends[partition] = publish(kafka, topic, 2, partition, size // 2)
    with fetching(kafka, topic, {0: 0, 1: 0}) as read:
        for partition, end in ends.items():
            read.until_offset(end - 1, partition)
            assert read.offsets(partition) == list(range(end))


def test_an_answer_that_is_too_large_fails_its_partition_alone(
    kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "ANSWER_BYTES_MAX", 500_000)
    publish(kafka, topic, 3)
    publish(kafka, topic, 1, partition=1, size=600_000)
    with fetching(kafka, topic, {0: 0, 1: 0}) as read:
        read.until(lambda: read.failures)
        read.until_offset(2)
        publish(kafka, topic, 3)
        read.until_offset(5)
        assert list(read.failures) == [1]
        assert "lower the topic's max.message.bytes" in read.failures[1]
        monkeypatch.setattr(link_module, "ANSWER_BYTES_MAX", MB)
        read.fetcher.start(1, 0)
        read.until_offset(0, partition=1)
        assert read.offsets() == list(range(6))


def test_what_one_partition_brings_out_in_us_stops_that_one(
    kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(batches: Sequence[RecordBatch], from_offset: int) -> Iterator[Messages]:
        if from_offset == 3:
            raise OverflowError("a bug")
        return take_apart(batches, from_offset)

    monkeypatch.setattr(fetcher_module, "take_apart", breaks)
    publish(kafka, topic, 3)
    end = publish(kafka, topic, 5, partition=1)
    with fetching(kafka, topic, {0: 0, 1: 0}) as read:
        read.until_offset(2)
        publish(kafka, topic, 3)
        read.until(lambda: read.failures)
        end = publish(kafka, topic, 5, partition=1)
        read.until_offset(end - 1, partition=1)
        assert list(read.failures) == [0]
        assert "0 from 3 on cannot be taken apart: OverflowError('a bug')" in read.failures[0]


@pytest.mark.parametrize("dead", ["127.0.0.1:{}", "no-such-host.invalid:{}", "a..b:{}", f"{'x' * 300}:{{}}"])
def test_bootstrap_servers_that_are_dead_are_passed_over(kafka: str, topic: str, dead: str) -> None:
    end = publish(kafka, topic, 5)
    with fetching(f"{dead.format(free_ports(1)[0])},{kafka}", topic, {0: 0}) as read:
        read.until_offset(end - 1)
        assert any(dead.partition(":")[0][:9] in trouble for trouble in read.trouble)


def test_nothing_is_left_of_fetchers_that_were_closed(kafka: str, topic: str) -> None:
    publish(kafka, topic, 5)

    def left() -> tuple[int, int]:
        ours = [each for each in threading.enumerate() if each.name in ("leaders", "fetching")]
        return len(ours), len(os.listdir("/proc/self/fd"))

    deadline = time.monotonic() + SECONDS_MAX
    while left()[0]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    _, files = left()
    for number in range(50):
        with fetching(kafka, topic, {0: 0, 1: 0}) as read:
            if number % 2:
                read.until_offset(4)
    deadline = time.monotonic() + 10
    while left()[0] or left()[1] > files:
        assert time.monotonic() < deadline, f"{left()} are left, {files} files were open before"
        time.sleep(0.05)

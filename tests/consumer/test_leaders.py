"""Leaders on two brokers, and leaders that move while they are read: every message once and in order."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from confluent_kafka import ElectionType, Producer, TopicPartition

from auditlog_consumer.fetch import fetcher as fetcher_module
from auditlog_consumer.fetch.inbox import QUEUED_BYTES_MAX
from kit.fetching import SECONDS_MAX, fetching
from kit.record_batches import Record, record_batch, send
from kit.two_brokers import TwoBrokers, two_brokers

pytestmark = pytest.mark.integration

MB: Final = 1 << 20


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoBrokers]:
    with two_brokers(tmp_path_factory.mktemp("two")) as started:
        yield started


@pytest.fixture
def topic(two: TwoBrokers) -> str:
    """Return a topic of which each broker leads one partition, and has a copy of the other."""
    name = f"events-{uuid.uuid4().hex[:8]}"
    two.make_topic(name, [[1, 2], [2, 1]])
    wait_until(lambda: leaders(two, name) == {0: 1, 1: 2} and in_sync(two, name))
    return name


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def leaders(two: TwoBrokers, topic: str) -> dict[int, int]:
    partitions = two.admin.list_topics(topic, timeout=60).topics[topic].partitions
    return {number: partition.leader for number, partition in partitions.items()}


def in_sync(two: TwoBrokers, topic: str) -> bool:
    partitions = two.admin.list_topics(topic, timeout=60).topics[topic].partitions
    return all(len(partition.isrs) == 2 for partition in partitions.values())


class Writer:
    """Writes to a partition all the time; `acknowledged` has the value of each offset."""

    def __init__(self, kafka: str, topic: str, partition: int) -> None:
        self.acknowledged: dict[int, bytes] = {}
        self._stop = threading.Event()
        settings = {"bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": 1, "log_level": 0}
        self._producer = Producer(settings)
        self._thread = threading.Thread(target=self._write, args=(topic, partition))
        self._thread.start()

    def _write(self, topic: str, partition: int) -> None:
        number = 0
        while not self._stop.wait(0.002):
            number += 1
            self._producer.produce(topic, b"%d" % number, partition=partition, on_delivery=self._on_delivery)
            self._producer.poll(0)
        assert self._producer.flush(SECONDS_MAX) == 0

    def _on_delivery(self, error: Any, message: Any) -> None:
        assert error is None, error
        self.acknowledged[message.offset()] = message.value()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def test_partitions_on_two_brokers_are_read_side_by_side(two: TwoBrokers, topic: str) -> None:
    for partition in (0, 1):
        send(two.addresses[partition + 1], topic, partition, record_batch([Record(b"v")] * 5))
    # One address is enough to find both.
    with fetching(two.addresses[2], topic, {0: 0, 1: 0}) as read:
        read.until_offset(4, 0)
        read.until_offset(4, 1)
        assert read.offsets(0) == read.offsets(1) == list(range(5))
        assert sum(each.name == "fetching" for each in threading.enumerate()) == 2
        assert not read.trouble


def test_a_leader_that_moves_away_and_back_is_followed(two: TwoBrokers, topic: str) -> None:
    """First because its broker was killed, then while both are alive: the old one says that it is not it."""
    writer = Writer(two.kafka, topic, 1)
    with fetching(two.kafka, topic, {0: 0, 1: 0}) as read:
        try:
            for _ in range(2):
                read.until_offset(len(writer.acknowledged) + 100, 1)
                two.children[2].kill()
                read.until(lambda: leaders(two, topic)[1] == 1)
                read.until_offset(len(writer.acknowledged) + 100, 1)
                two.children[2].start()
                two.children[2].wait_ready()
                read.until(lambda: in_sync(two, topic))
                elected = two.admin.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, 1)])
                elected.result(60)
                read.until(lambda: leaders(two, topic)[1] == 2)
                read.until_offset(len(writer.acknowledged) + 100, 1)
        finally:
            writer.stop()
        read.until_offset(max(writer.acknowledged), 1)
        found = [
            value for polled in read.polls if 1 in polled.messages for value in polled.messages[1].values
        ]
        assert read.offsets(1) == list(range(len(found)))
        assert {offset: found[offset] for offset in writer.acknowledged} == writer.acknowledged
        assert not read.failures


def test_two_readers_of_a_partition_whose_leader_moved_put_it_into_the_queue_once(
    two: TwoBrokers, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one waits for room with many batches in its hands while the second one begins."""
    monkeypatch.setattr(fetcher_module, "PARTITION_BYTES_MAX", 8 * MB)
    large = record_batch([Record(random.Random(1).randbytes(MB - 1_000))])
    for _ in range(50):
        end = send(two.addresses[2], topic, 1, large) + 1
    with fetching(two.kafka, topic, {1: 0}) as read:
        wait_until(lambda: read.fetcher._queued_bytes >= QUEUED_BYTES_MAX)
        two.children[2].kill()
        wait_until(lambda: leaders(two, topic)[1] == 1)
        with read.fetcher._changed:
            # As after any trouble with another partition.
            read.fetcher._leaders_asked = True
            read.fetcher._changed.notify_all()
        wait_until(lambda: read.fetcher._leaders[1] == addresses_of(two, 1))
        while end - 1 not in read.offsets(1):
            read.take(messages_max=1)
        read.for_seconds(1.0)
        assert read.offsets(1) == list(range(end))
    two.children[2].start()
    two.children[2].wait_ready()


def addresses_of(two: TwoBrokers, node: int) -> tuple[str, int]:
    host, _, port = two.addresses[node].rpartition(":")
    return host, int(port)

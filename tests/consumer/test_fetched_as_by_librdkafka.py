"""The same log read twice, by librdkafka and by our own fetcher: the same messages, from every offset on."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Final

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from auditlog_consumer.fetch.fetcher import Fetcher
from auditlog_consumer.fetch.unpack import CODECS
from kit.record_batches import Record, Told, record_batch, send, told

pytestmark = pytest.mark.integration

SECONDS_MAX: Final = 120.0
BATCHES: Final = 300


def make_topic(kafka: str, **config: str) -> str:
    topic = f"read-twice-{uuid.uuid4().hex[:8]}"
    settings = {name.replace("_", "."): value for name, value in config.items()}
    new = NewTopic(topic, num_partitions=1, replication_factor=1, config=settings)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([new])[topic].result(60)
    return topic


def by_librdkafka(kafka: str, topic: str, offset: int) -> list[Told]:
    """Return what librdkafka reads up to the end of the log."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": topic,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
        }
    )
    consumer.assign([TopicPartition(topic, 0, offset)])
    found: list[Told] = []
    deadline = time.monotonic() + SECONDS_MAX
    with closing(consumer):
        while time.monotonic() < deadline:
            for message in consumer.consume(1_000, 0.1):
                error = message.error()
                if error is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    return found
                at, millis = message.offset(), message.timestamp()[1]
                assert at is not None
                found.append((at, message.key(), message.value(), millis))
    raise AssertionError("the end was not reached")


def by_fetcher(kafka: str, topic: str, offset: int) -> list[Told]:
    """Return what our fetcher reads up to the end of the log."""
    found: list[Told] = []
    deadline = time.monotonic() + SECONDS_MAX
    with closing(Fetcher(kafka, {}, topic, "test")) as fetcher:
        fetcher.start(0, offset)
        while time.monotonic() < deadline:
            fetcher.wait(0.5)
            polled = fetcher.take(1_000)
            found += told(polled.messages.values())
            if 0 in polled.ends:
                return found
    raise AssertionError("the end was not reached")


def require_same(kafka: str, topic: str, offsets: Iterator[int]) -> list[Told]:
    """Require that both read the same from some offsets on; return what comes from the beginning on."""
    whole = by_librdkafka(kafka, topic, 0)
    assert by_fetcher(kafka, topic, 0) == whole
    for offset in offsets:
        assert by_fetcher(kafka, topic, offset) == [message for message in whole if message[0] >= offset]
    return whole


@pytest.mark.parametrize("kind", ["CreateTime", "LogAppendTime"])
def test_batches_of_every_kind_are_read_alike(kafka_bootstrap: str, kind: str) -> None:
    topic, draw = make_topic(kafka_bootstrap, message_timestamp_type=kind), random.Random(kind)
    texts = [None, b"", b"k", b"acc_1", bytes(200), draw.randbytes(5_000)]
    for _ in range(BATCHES):
        records = [
            Record(
                draw.choice(texts),
                draw.choice(texts),
                millis=draw.randrange(-100_000, 1_000),
                headers=tuple((b"h", draw.choice(texts)) for _ in range(draw.randrange(3))),
            )
            for _ in range(draw.choice([1, 1, 2, 9, 70]))
        ]
        send(kafka_bootstrap, topic, 0, record_batch(records, draw.choice(CODECS)))
    whole = by_librdkafka(kafka_bootstrap, topic, 0)
    assert len(whole) == whole[-1][0] + 1 > BATCHES
    require_same(kafka_bootstrap, topic, iter(draw.sample(range(len(whole)), 8)))


@contextmanager
def transactional(kafka: str, codec: str) -> Iterator[Producer]:
    producer = Producer(
        {
            "bootstrap.servers": kafka,
            "transactional.id": uuid.uuid4().hex,
            "compression.type": codec,
            "linger.ms": 0,
        }
    )
    producer.init_transactions(60)
    yield producer
    producer.flush(60)


def test_transactions_are_read_alike(kafka_bootstrap: str) -> None:
    """Of three producers at the same time, and of one without transactions."""
    topic, draw = make_topic(kafka_bootstrap), random.Random(7)
    with (
        transactional(kafka_bootstrap, "zstd") as one,
        transactional(kafka_bootstrap, "lz4") as two,
        transactional(kafka_bootstrap, "none") as three,
    ):
        open_ones: set[int] = set()
        producers: Mapping[int, Producer] = {1: one, 2: two, 3: three}
        for step in range(150):
            number = draw.choice([0, 1, 1, 2, 2, 3])
            if not number:
                send(kafka_bootstrap, topic, 0, record_batch([Record(b"plain %d" % step)] * 2, "gzip"))
                continue
            producer = producers[number]
            if number not in open_ones:
                producer.begin_transaction()
                open_ones.add(number)
            for _ in range(draw.choice([1, 3])):
                producer.produce(topic, b"%d in %d" % (number, step), str(step))
            producer.flush(60)
            if draw.random() < 0.4:
                open_ones.discard(number)
                end = producer.commit_transaction if draw.random() < 0.5 else producer.abort_transaction
                end(60)
        assert open_ones, "all that comes behind an open transaction waits for it"
        waiting = require_same(kafka_bootstrap, topic, iter([1, 30, 77]))
        for number in open_ones:
            producers[number].commit_transaction(60)
    last = waiting[-1][0]
    whole = require_same(kafka_bootstrap, topic, iter([*range(0, last, last // 20), last]))
    assert whole[: len(waiting)] == waiting
    offsets = [message[0] for message in whole]
    assert len(offsets) < offsets[-1], "nothing was aborted"
    # The broker lists those that reach into what it sends, wherever that begins.


def test_a_compacted_log_is_read_alike(kafka_bootstrap: str) -> None:
    """With batches that have gaps, and some without any record."""
    topic = make_topic(
        kafka_bootstrap,
        cleanup_policy="compact",
        segment_ms="200",
        min_cleanable_dirty_ratio="0.01",
        delete_retention_ms="0",
        min_compaction_lag_ms="0",
    )
    draw, values, sent = random.Random(3), [None, b"v", bytes(300)], 0
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        records = [Record(draw.choice(values), b"%d" % draw.randrange(20)) for _ in range(9)]
        send(kafka_bootstrap, topic, 0, record_batch(records, draw.choice(CODECS)))
        sent += len(records)
        if sent > 600 and len(by_librdkafka(kafka_bootstrap, topic, 0)) < 250:
            break
        assert time.monotonic() < deadline, "Kafka does not compact"
        time.sleep(0.05 if sent < 600 else 1)
    require_same(kafka_bootstrap, topic, iter(range(0, sent, sent // 15)))

"""What receiving costs: our fetcher against librdkafka, from the broker to messages held by column.

Both read the same topic of two partitions, in turns, for each codec.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Final, cast
from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicPartition
from harness import Bench
from servers import Servers

from auditlog_consumer.fetch.between import messages_between
from auditlog_consumer.fetch.unpack import CODECS
from auditlog_consumer.messages import KafkaMessage, Messages
from auditlog_consumer.settings import ConsumerSettings

PARTITIONS: Final = 2
MESSAGES: Final = 400_000
QUICK_MESSAGES: Final = 100_000
SECONDS: Final = 10.0
SHARE_MAX: Final = 1.0
_AT_ONCE: Final = 500


def publish(kafka: str, topic: str, codec: str, count: int) -> None:
    """Publish messages of 328 bytes, half of them noise, as an event is about."""
    noise = random.Random(7)
    producer = Producer(
        {"bootstrap.servers": kafka, "compression.type": codec, "queue.buffering.max.messages": 1_000_000}
    )
    for number in range(count):
        body = noise.randbytes(160) + bytes(160) + number.to_bytes(8, "big")
        producer.produce(topic, body, f"acc_{number % 9}".encode(), partition=number % PARTITIONS)
        if number % 1_000 == 0:
            producer.poll(0)
    producer.flush()


def ours(kafka: str, topic: str, count: int) -> int:
    settings = ConsumerSettings.load(kafka=kafka, topic=topic)
    spans = dict.fromkeys(range(PARTITIONS), (0, count // PARTITIONS))
    return sum(len(messages) for _, messages in messages_between(settings, spans))


def librdkafka(kafka: str, topic: str, count: int) -> int:
    """Return how many messages came; taken as the consumer took them before, 500 at a time."""
    config = {"bootstrap.servers": kafka, "group.id": uuid4().hex, "enable.auto.commit": False}
    config |= {"auto.offset.reset": "earliest", "fetch.queue.backoff.ms": 10}
    received = 0
    with closing(Consumer(config)) as reader:
        reader.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        deadline = time.monotonic() + 120
        while received < count and time.monotonic() < deadline:
            if found := reader.consume(_AT_ONCE, 0.1):
                received += len(Messages.of(cast(list[KafkaMessage], found)))
    return received


def main() -> None:
    bench = Bench(__doc__ or "")
    count = QUICK_MESSAGES if bench.quick else MESSAGES
    bench.row("codec", "ours, us of CPU", "librdkafka", "share")
    with Servers() as servers:
        for codec in CODECS:
            topic, _ = servers.new_topic(PARTITIONS)
            publish(servers.bootstrap, topic, codec, count)
            subjects: dict[str, Callable[[], int]] = {
                "ours": partial(ours, servers.bootstrap, topic, count),
                "librdkafka": partial(librdkafka, servers.bootstrap, topic, count),
            }
            found = bench.compare(subjects, seconds=SECONDS / 5 if bench.quick else SECONDS)
            micros = {name: 1e6 / speed.per_cpu_second for name, speed in found.items()}
            share = micros["ours"] / micros["librdkafka"]
            bench.row(codec, f"{micros['ours']:.2f}", f"{micros['librdkafka']:.2f}", f"{share:.2f}")
            bench.figure(f"{codec}, ours, us", micros["ours"])
            bench.figure(f"{codec}, librdkafka, us", micros["librdkafka"])
            bench.bar(f"CPU of a message in {codec}, ours / librdkafka", share, at_most=SHARE_MAX)
    bench.finish()


if __name__ == "__main__":
    main()

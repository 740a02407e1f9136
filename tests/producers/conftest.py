"""What the producers' tests share: a mock cluster inside librdkafka, a registry, event parts, a reader."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from auditlog_local.ports import free_ports
from auditlog_producers import Actor, AuditEvent, AuditProducer, Entity, Source, new_event_id
from kit.producing import MakeEvent, Read


@pytest.fixture(scope="session")
def mock_kafka() -> Iterator[str]:
    """Bootstrap servers of librdkafka's mock cluster: real sockets, topics of 4 partitions made on use."""
    host = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 2})
    [broker] = host.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    host.close()


@pytest.fixture
def nobody() -> str:
    """An address where nothing listens."""
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"


@pytest.fixture
def topic() -> str:
    return f"audit.test-{uuid4().hex}"


@pytest.fixture
def producer(mock_kafka: str, topic: str) -> Iterator[AuditProducer]:
    producer = AuditProducer(mock_kafka, service="licensing", topic=topic)
    yield producer
    producer.close(5)


@pytest.fixture(scope="session")
def parts() -> dict[str, Any]:
    """The arguments of the smallest valid `record`."""
    return {
        "account_id": "acc_1",
        "action": "license_reset",
        "entity": Entity(type="license", id="lic_1", name="Pro seat"),
        "actor": Actor(type="platform_user", id="usr_7", name="Ada"),
    }


@pytest.fixture(scope="session")
def make_event(parts: dict[str, Any]) -> MakeEvent:
    def make(**fields: Any) -> AuditEvent:
        return AuditEvent(**(_defaults() | parts | fields))

    return make


def _defaults() -> dict[str, Any]:
    source = Source(service="elsewhere", instance_id="i-9", sequence=77)
    return {"event_id": new_event_id(), "occurred_at": datetime.now(UTC), "source": source}


@pytest.fixture(scope="session")
def read() -> Read:
    return _read


def _read(kafka: str, topic: str, count: int) -> list[Message]:
    """Return `count` messages of a topic, partition by partition in offset order."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": uuid4().hex, "log_level": 2})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    messages: list[Message] = []
    deadline = time.monotonic() + 120
    while len(messages) < count and time.monotonic() < deadline:
        messages += [message for message in consumer.consume(count, timeout=0.2) if message.error() is None]
    consumer.close()
    assert len(messages) == count
    return sorted(messages, key=lambda message: (message.partition() or 0, message.offset() or 0))


@pytest.fixture(scope="session")
def java_murmur2() -> Callable[[bytes], int]:
    return _java_murmur2


def _java_murmur2(data: bytes) -> int:
    """Kafka's hash of keys (org.apache.kafka.common.utils.Utils.murmur2), as an unsigned number."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    length = len(data)
    h = (0x9747B28C ^ length) & mask
    whole = length - length % 4
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15

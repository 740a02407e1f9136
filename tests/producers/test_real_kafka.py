"""The SDK against a real broker: LogAppendTime, partitions, a missing topic, a broker that is killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from auditlog_local.child import Child
from auditlog_producers import (
    AuditProducer,
    BrokerUnavailable,
    BufferFull,
    ConfigError,
    EventsUndelivered,
    PublishHandle,
)
from auditlog_producers.checked_event import decoded
from kit.producing import Read
from kit.servers import own_kafka

pytestmark = [pytest.mark.integration, pytest.mark.long]

CreateTopic: TypeAlias = Callable[[str, str], None]


@pytest.fixture(scope="session")
def create_topic() -> CreateTopic:
    def create(kafka: str, topic: str) -> None:
        admin = AdminClient({"bootstrap.servers": kafka, "log_level": 2})
        [created] = admin.create_topics([NewTopic(topic, 8, 1)], operation_timeout=20).values()
        created.result(60)

    return create


@pytest.fixture
def real_topic(kafka_bootstrap: str, topic: str, create_topic: CreateTopic) -> str:
    create_topic(kafka_bootstrap, topic)
    return topic


def test_events_are_stored_with_the_brokers_time_in_javas_partition(
    kafka_bootstrap: str,
    real_topic: str,
    parts: dict[str, Any],
    read: Read,
    java_murmur2: Callable[[bytes], int],
) -> None:
    accounts = [f"acc_{number}" for number in range(40)]
    with AuditProducer(kafka_bootstrap, service="shop", topic=real_topic) as producer:
        handles = [producer.record(**parts | {"account_id": account}) for account in accounts]
        delivered = [handle.result(60) for handle in handles]
    for account, place in zip(accounts, delivered, strict=True):
        assert place.partition == (java_murmur2(account.encode()) & 0x7FFFFFFF) % 8
        assert place.timestamp is not None
        assert abs(place.timestamp - datetime.now(UTC)) < timedelta(minutes=1)
    for message in read(kafka_bootstrap, real_topic, 40):
        event = decoded(message.value() or b"")
        place = delivered[event.source.sequence - 1]
        kind, millis = message.timestamp()
        assert (message.partition(), message.offset()) == (place.partition, place.offset)
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        assert place.timestamp == datetime.fromtimestamp(millis / 1000, UTC)


def test_a_missing_topic_says_what_to_do(kafka_bootstrap: str, topic: str, parts: dict[str, Any]) -> None:
    extra = {"topic.metadata.propagation.max.ms": 500}
    producer = AuditProducer(kafka_bootstrap, service="s", topic=topic, kafka_config=extra)
    with pytest.raises(ConfigError, match="create the topic"):
        producer.record(**parts).result(60)
    producer.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[Child, str]]:
    """A broker of this test's own: to be killed, or to have the default topic."""
    with own_kafka(tmp_path) as started:
        yield started


def test_a_broker_killed_and_restarted_loses_and_doubles_nothing(
    broker: tuple[Child, str], topic: str, parts: dict[str, Any], read: Read, create_topic: CreateTopic
) -> None:
    child, bootstrap = broker
    create_topic(bootstrap, topic)
    producer = AuditProducer(bootstrap, service="s", topic=topic)
    stop = threading.Event()
    handles: list[PublishHandle] = []

    def publish() -> None:
        while not stop.is_set():
            handles.append(producer.record(**parts | {"account_id": f"acc_{len(handles) % 50}"}))
            time.sleep(0.001)

    thread = threading.Thread(target=publish)
    thread.start()
    handles_before = _wait_for(lambda: producer.stats.delivered > 300) and len(handles)
    child.kill()
    time.sleep(2)
    child.stop()  # closes the pipe of the process that is gone
    child.start()
    child.wait_ready()
    stop_at = producer.stats.delivered + 300
    _wait_for(lambda: producer.stats.delivered > stop_at)
    stop.set()
    thread.join()
    assert producer.flush(60) == 0
    producer.close()
    assert handles_before < len(handles)
    assert (producer.stats.failed, producer.stats.delivered) == (0, len(handles))
    stored = [decoded(m.value() or b"").source.sequence for m in read(bootstrap, topic, len(handles))]
    assert sorted(stored) == list(range(1, len(handles) + 1))


def test_while_the_broker_is_away_the_buffer_fills_and_says_so(
    broker: tuple[Child, str], topic: str, parts: dict[str, Any], create_topic: CreateTopic
) -> None:
    child, bootstrap = broker
    create_topic(bootstrap, topic)
    producer = AuditProducer(
        bootstrap, service="s", topic=topic, buffer_messages_max=20, block_seconds_max=0.2
    )
    producer.record(**parts).result(60)
    child.kill()
    with pytest.raises(BufferFull):
        [producer.record(**parts) for _ in range(21)]
    with pytest.raises(EventsUndelivered) as caught:
        producer.close(0.5)
    assert caught.value.count == 20
    assert isinstance(caught.value.last_error, BrokerUnavailable)


def test_the_example_runs(broker: tuple[Child, str], create_topic: CreateTopic, read: Read) -> None:
    _, bootstrap = broker
    create_topic(bootstrap, "audit.events")
    example = Path(__file__).parents[2] / "examples" / "publish.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example), bootstrap],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    [message] = read(bootstrap, "audit.events", 1)
    assert decoded(message.value() or b"").action == "license_reset"
    assert "audit.events" in done.stdout


def _wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return True

"""Messages between two offsets: all of them, however slowly they are put to use, and an error for silence."""

from __future__ import annotations

import time
import uuid

import pytest

from auditlog_consumer.fetch import between as between_module
from auditlog_consumer.fetch.between import messages_between
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import Topics
from auditlog_schemas.errors import BrokerUnavailable
from kit.record_batches import Record, record_batch, send

pytestmark = pytest.mark.integration


def settings_of(kafka: str, topic: str) -> ConsumerSettings:
    return ConsumerSettings.load(kafka=kafka, topic=topic, group=topic)


@pytest.fixture
def settings(kafka_bootstrap: str) -> ConsumerSettings:
    topic = f"between-{uuid.uuid4().hex[:8]}"
    Topics(kafka_bootstrap).ensure(topic, f"{topic}.dead", partitions=2)
    for partition in (0, 1):
        for _ in range(3):
            send(kafka_bootstrap, topic, partition, record_batch([Record(b"v")] * 50, "lz4"))
    return settings_of(kafka_bootstrap, topic)


def test_who_is_slow_gets_everything(settings: ConsumerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(between_module, "_MESSAGES_AT_ONCE", 60)
    found: dict[int, list[int]] = {0: [], 1: []}
    for number, messages in messages_between(settings, {0: (20, 130), 1: (0, 999)}, silence_seconds_max=0.7):
        found[number] += messages.offsets.tolist()
        time.sleep(1.0)
    assert found == {0: list(range(20, 130)), 1: list(range(150))}


def test_a_topic_that_is_not_there_is_said_to_be_unknown(kafka_bootstrap: str) -> None:
    nothing = messages_between(settings_of(kafka_bootstrap, "no-such-topic"), {0: (0, 5)}, 1.0)
    with pytest.raises(BrokerUnavailable, match=r"sent nothing of no-such-topic for 1 s: it does not know"):
        list(nothing)


def test_silence_has_its_reason() -> None:
    nothing = messages_between(settings_of("127.0.0.1:1", "events"), {0: (0, 5)}, 1.0)
    with pytest.raises(BrokerUnavailable, match=r"of events for 1 s: Kafka at 127\.0\.0\.1:1: .*efused"):
        list(nothing)

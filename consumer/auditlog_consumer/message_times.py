"""When Kafka received the message at some offset."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaException, TopicPartition

from auditlog_consumer.kafka_errors import translate
from auditlog_consumer.settings import ConsumerSettings


def received_at(
    settings: ConsumerSettings, offsets: Mapping[int, int], seconds_max: float
) -> dict[int, datetime]:
    """Return by partition when Kafka received the first message at or after an offset, aware UTC.

    Partitions whose message did not come within the time, or that have none there, are left out. Joins no
    group and changes nothing.

    Raises:
        BrokerUnavailable, ConfigError, TerminalError: Kafka refuses the request as a whole.
    """
    consumer = Consumer(
        {
            **settings.kafka_config,
            "bootstrap.servers": settings.kafka,
            "group.id": f"{settings.group}.times",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
            "log_level": 2,
        }
    )
    found: dict[int, datetime] = {}
    try:
        consumer.assign([TopicPartition(settings.topic, *position) for position in offsets.items()])
        deadline = time.monotonic() + seconds_max
        while len(found) < len(offsets) and time.monotonic() < deadline:
            message = consumer.poll(0.1)
            number = message.partition() if message is not None and message.error() is None else None
            if message is not None and number is not None and number not in found:
                _, millis = message.timestamp()
                found[number] = datetime.fromtimestamp(millis / 1000, UTC)
                consumer.pause([TopicPartition(settings.topic, number)])
    except KafkaException as error:
        raise translate(error.args[0], "reading the oldest messages") from error
    finally:
        consumer.close()
    return found

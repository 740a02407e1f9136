"""The topics: made with the settings that the consumer relies on, and identified by Kafka's own id."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from auditlog_consumer.kafka_errors import translate
from auditlog_schemas.errors import BrokerUnavailable, ConfigError

PARTITIONS: Final = 8
REQUEST_SECONDS_MAX: Final = 10.0
EVENTS_CONFIG: Final = {"message.timestamp.type": "LogAppendTime"}
DEAD_LETTERS_CONFIG: Final = {
    "message.timestamp.type": "LogAppendTime",
    # A rejected message is lost when its dead letter expires, so it never does.
    "retention.ms": "-1",
    # A message as large as the broker takes must fit together with its headers.
    "max.message.bytes": str(2 * 1024 * 1024),
}


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """What Kafka says of a topic."""

    name: str
    topic_id: UUID
    partitions: int
    timestamp_type: str


class Topics:
    """Makes and describes topics. Every method raises BrokerUnavailable when Kafka does not answer."""

    def __init__(self, kafka: str, config: Mapping[str, str] | None = None) -> None:
        self._admin = AdminClient({"bootstrap.servers": kafka, "log_level": 2, **(config or {})})

    def ensure(self, topic: str, dead_topic: str, partitions: int = PARTITIONS, replicas: int = 1) -> None:
        """Make both topics unless they exist; existing ones are left as they are."""
        for name, config in ((topic, EVENTS_CONFIG), (dead_topic, DEAD_LETTERS_CONFIG)):
            new = NewTopic(name, num_partitions=partitions, replication_factor=replicas, config=config)
            future = self._admin.create_topics([new], request_timeout=REQUEST_SECONDS_MAX)[name]
            try:
                future.result(REQUEST_SECONDS_MAX)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise translate(error.args[0], f"creating topic {name}") from error
            self._wait_until_shown(name)

    def describe(self, topic: str) -> TopicInfo:
        """Return a topic's identity, size and timestamp type.

        Raises:
            ConfigError: there is no such topic.
        """
        try:
            futures = self._admin.describe_topics(
                TopicCollection([topic]), request_timeout=REQUEST_SECONDS_MAX
            )
            found = futures[topic].result(REQUEST_SECONDS_MAX)
            resource = ConfigResource(ResourceType.TOPIC, topic)
            configs = self._admin.describe_configs([resource], request_timeout=REQUEST_SECONDS_MAX)
            config = configs[resource].result(REQUEST_SECONDS_MAX)
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                raise ConfigError(f"Kafka has no topic {topic!r}: `auditlog consume` creates it") from error
            raise translate(cause, f"describing topic {topic}") from error
        high = found.topic_id.get_most_significant_bits() & 0xFFFFFFFFFFFFFFFF
        low = found.topic_id.get_least_significant_bits() & 0xFFFFFFFFFFFFFFFF
        return TopicInfo(
            name=topic,
            topic_id=UUID(int=high << 64 | low),
            partitions=len(found.partitions),
            timestamp_type=config["message.timestamp.type"].value,
        )

    def _wait_until_shown(self, topic: str) -> None:
        """Return when Kafka shows a topic that it has just made; brokers learn of it a little later."""
        deadline = time.monotonic() + REQUEST_SECONDS_MAX
        while True:
            try:
                self.describe(topic)
                return
            except ConfigError as error:
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(f"Kafka made topic {topic} and does not show it") from error
            time.sleep(0.05)

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset that Kafka still has of a partition, and the offset after the last one.

        Raises:
            BrokerUnavailable: Kafka did not answer, or does not know the partition (yet).
        """
        at = TopicPartition(topic, partition)
        earliest, latest = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._offset(at, earliest), self._offset(at, latest)

    def _offset(self, at: TopicPartition, spec: OffsetSpec) -> int:
        try:
            future = self._admin.list_offsets({at: spec}, request_timeout=REQUEST_SECONDS_MAX)[at]
            return int(future.result(REQUEST_SECONDS_MAX).offset)
        except KafkaException as error:
            doing = f"asking for the ends of {at.topic}/{at.partition}"
            raise translate(error.args[0], doing) from error

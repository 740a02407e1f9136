"""The topics: made with the settings that the consumer relies on, and identified by Kafka's own id."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from auditlog_consumer.dead_letters import DEAD_MESSAGE_BYTES_MIN
from auditlog_consumer.fetch.bootstrap import require_entry
from auditlog_consumer.kafka_errors import made, translate
from auditlog_schemas.errors import BrokerUnavailable, ConfigError

PARTITIONS: Final = 8
REQUEST_SECONDS_MAX: Final = 10.0
BROKERS_DEFAULT: Final = -1

_NO_SUCH_TOPIC: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """What Kafka says of a topic.

    Attributes:
        retention_millis, retention_bytes: how long, and how much of a partition, is kept; -1 for all of it.
        message_bytes_max: of one record batch, compressed.
        cleanup_policy: what is done with old messages: ``delete``, ``compact``, or both with a comma.
        unclean_election: whether a replica may lead that lacks acknowledged messages.
    """

    name: str
    topic_id: UUID
    partitions: int
    timestamp_type: str
    retention_millis: int
    message_bytes_max: int
    cleanup_policy: str = "delete"
    retention_bytes: int = -1
    unclean_election: bool = False


class Topics:
    """Makes and describes topics. Every method raises BrokerUnavailable when Kafka does not answer."""

    def __init__(self, kafka: str, config: Mapping[str, str] | None = None) -> None:
        self._kafka, self._config = kafka, config or {}
        self._admin = made(AdminClient, {**self._config, "bootstrap.servers": kafka, "log_level": 2})

    def ensure(
        self, topic: str, dead_topic: str, partitions: int = PARTITIONS, replicas: int = BROKERS_DEFAULT
    ) -> tuple[TopicInfo, TopicInfo]:
        """Make the topics that do not exist, and return what both are; existing ones are left as they are."""
        events = self.find(topic) or self._make(topic, partitions, replicas, {})
        # A rejected message is lost when its dead letter expires, so it never does.
        config = {
            "retention.ms": "-1",
            "retention.bytes": "-1",
            "max.message.bytes": str(2 * DEAD_MESSAGE_BYTES_MIN),
        }
        return events, self.find(dead_topic) or self._make(dead_topic, partitions, replicas, config)

    def describe(self, topic: str) -> TopicInfo:
        """Return a topic's identity, size and settings.

        Raises:
            ConfigError: there is no such topic.
        """
        found = self.find(topic)
        if found is None:
            raise ConfigError(f"Kafka has no topic {topic!r}: `auditlog consume` creates it")
        return found

    def find(self, topic: str) -> TopicInfo | None:
        """Return a topic's identity, size and settings, or None when there is no such topic.

        Raises:
            ConfigError: a broker refuses us, see `require_entry`.
        """
        doing = f"describing topic {topic}"
        resource = ConfigResource(ResourceType.TOPIC, topic)
        topics = TopicCollection([topic])
        try:
            described = self._admin.describe_topics(topics, request_timeout=REQUEST_SECONDS_MAX)
            found = _result(described[topic], doing)
            configs = self._admin.describe_configs([resource], request_timeout=REQUEST_SECONDS_MAX)
            config = _result(configs[resource], doing)
        except KafkaException as error:
            if error.args[0].code() in _NO_SUCH_TOPIC:
                return None
            failure = translate(error.args[0], doing)
            if isinstance(failure, BrokerUnavailable):
                # librdkafka does not tell an outage from a wrong password.
                require_entry(self._kafka, self._config)
            raise failure from error
        return TopicInfo(
            name=topic,
            topic_id=_topic_id(found),
            partitions=len(found.partitions),
            timestamp_type=config["message.timestamp.type"].value,
            retention_millis=int(config["retention.ms"].value),
            message_bytes_max=int(config["max.message.bytes"].value),
            cleanup_policy=config["cleanup.policy"].value or "",
            retention_bytes=int(config["retention.bytes"].value),
            unclean_election=config["unclean.leader.election.enable"].value == "true",
        )

    def identify(self, topic: str) -> UUID | None:
        """Return Kafka's id of the topic that has this name now, or None when there is none."""
        doing = f"identifying topic {topic}"
        try:
            described = self._admin.describe_topics(
                TopicCollection([topic]), request_timeout=REQUEST_SECONDS_MAX
            )
            return _topic_id(_result(described[topic], doing))
        except KafkaException as error:
            if error.args[0].code() in _NO_SUCH_TOPIC:
                return None
            raise translate(error.args[0], doing) from error

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset that Kafka still has of a partition, and the offset after the last one.

        Raises:
            BrokerUnavailable: Kafka did not answer, or does not know the partition (yet).
        """
        at = TopicPartition(topic, partition)
        earliest, latest = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._offset(at, earliest), self._offset(at, latest)

    def _make(self, topic: str, partitions: int, replicas: int, config: dict[str, str]) -> TopicInfo:
        doing = f"creating topic {topic}"
        # Said explicitly: a broker's own defaults may be others.
        settings = {
            "message.timestamp.type": "LogAppendTime",
            "cleanup.policy": "delete",
            "unclean.leader.election.enable": "false",
            **config,
        }
        new = NewTopic(topic, num_partitions=partitions, replication_factor=replicas, config=settings)
        try:
            _result(self._admin.create_topics([new], request_timeout=REQUEST_SECONDS_MAX)[topic], doing)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise translate(error.args[0], doing) from error
        return self._wait_until_shown(topic)

    def _wait_until_shown(self, topic: str) -> TopicInfo:
        """Return when Kafka shows a topic that it has just made; brokers learn of it a little later."""
        deadline = time.monotonic() + REQUEST_SECONDS_MAX
        while (found := self.find(topic)) is None:
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"Kafka made topic {topic} and does not show it")
            time.sleep(0.05)
        return found

    def _offset(self, at: TopicPartition, spec: OffsetSpec) -> int:
        doing = f"asking for the ends of {at.topic}/{at.partition}"
        try:
            future = self._admin.list_offsets({at: spec}, request_timeout=REQUEST_SECONDS_MAX)[at]
            return int(_result(future, doing).offset)
        except KafkaException as error:
            raise translate(error.args[0], doing) from error


def _topic_id(found: Any) -> UUID:
    high = found.topic_id.get_most_significant_bits() & 0xFFFFFFFFFFFFFFFF
    low = found.topic_id.get_least_significant_bits() & 0xFFFFFFFFFFFFFFFF
    return UUID(int=high << 64 | low)


def _result(future: Future[T], doing: str) -> T:
    """Return a request's result; librdkafka's own timeout comes first, ours is for when it does not."""
    try:
        return future.result(REQUEST_SECONDS_MAX + 5)
    except TimeoutError as error:
        raise BrokerUnavailable(f"Kafka, {doing}: no answer") from error

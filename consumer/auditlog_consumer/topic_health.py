"""Whether a topic can be read and written now, found out without reading or writing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from auditlog_consumer.kafka_errors import translate
from auditlog_schemas.errors import BrokerUnavailable

ANSWER_SECONDS_MAX: Final = 10.0


@dataclass(frozen=True, slots=True)
class TopicHealth:
    """What Kafka says of a topic at one moment.

    Attributes:
        without_leader: partitions that no broker serves.
        short_of_replicas: partitions with fewer replicas in sync than a write with acks=all needs.
        may_read, may_write: what this user may do.
    """

    without_leader: tuple[int, ...]
    short_of_replicas: tuple[int, ...]
    may_read: bool
    may_write: bool


def topic_health(kafka: str, config: Mapping[str, str], topic: str) -> TopicHealth:
    """Return how a topic is.

    Raises:
        BrokerUnavailable: Kafka did not answer, or has no such topic.
        ConfigError, TerminalError: Kafka refuses to tell.
    """
    admin = AdminClient({**config, "bootstrap.servers": kafka, "log_level": 2})
    doing = f"describing topic {topic}"
    try:
        asked = admin.describe_topics(
            TopicCollection([topic]), include_authorized_operations=True, request_timeout=ANSWER_SECONDS_MAX
        )
        resource = ConfigResource(ResourceType.TOPIC, topic)
        configs = admin.describe_configs([resource], request_timeout=ANSWER_SECONDS_MAX)
        found: Any = asked[topic].result(ANSWER_SECONDS_MAX + 1)
        config_found: Any = configs[resource].result(ANSWER_SECONDS_MAX + 1)
    except KafkaException as error:
        raise translate(error.args[0], doing) from error
    except TimeoutError as error:
        raise BrokerUnavailable(f"Kafka, {doing}: no answer") from error
    in_sync_min = int(config_found["min.insync.replicas"].value)
    allowed = found.authorized_operations
    return TopicHealth(
        without_leader=tuple(one.id for one in found.partitions if one.leader is None or one.leader.id < 0),
        short_of_replicas=tuple(one.id for one in found.partitions if len(one.isr) < in_sync_min),
        # A broker that does not know whom it may tell lists nothing.
        may_read=allowed is None or AclOperation.READ in allowed,
        may_write=allowed is None or AclOperation.WRITE in allowed,
    )

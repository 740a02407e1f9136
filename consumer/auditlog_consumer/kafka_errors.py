"""librdkafka's error codes turned into our errors, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from auditlog_schemas.errors import AuditError, BrokerUnavailable, ConfigError, TerminalError

T = TypeVar("T")

_AWAY: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        # The client dropped its connection to a broker that is not in the cluster for now.
        KafkaError._DESTROY_BROKER,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
        KafkaError._IN_PROGRESS,
        KafkaError._RETRY,
        KafkaError._QUEUE_FULL,
        KafkaError._NO_OFFSET,
        # Of partitions without a leader, just after a broker's restart.
        KafkaError._NOENT,
        KafkaError._STATE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError._ISR_INSUFF,
        KafkaError.NOT_CONTROLLER,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.INCONSISTENT_TOPIC_ID,
    }
)
_CONFIGURATION: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError._INVALID_ARG,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)


def made(kind: Callable[[dict[str, Any]], T], config: dict[str, Any]) -> T:
    """Return a client of librdkafka; raises ConfigError when it does not take a setting."""
    try:
        return kind(config)
    except KafkaException as error:
        raise translate(error.args[0], "looking at AUDITLOG_KAFKA_CONFIG") from error


def translate(error: KafkaError, doing: str) -> AuditError:
    """Return our error for one of Kafka's; codes that are not listed are terminal."""
    text = f"Kafka, {doing}: {error.str()} ({error.name()})"
    code = error.code()
    if error.fatal():
        return TerminalError(text)
    if code in _AWAY or error.retriable():
        return BrokerUnavailable(text)
    if code in _CONFIGURATION:
        return ConfigError(text)
    return TerminalError(text)

"""Kafka's error codes translated into this project's exceptions, once. Unknown codes are terminal."""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError

from auditlog_schemas.errors import AuditError, BrokerUnavailable, ConfigError, TerminalError

_Entry = tuple[type[AuditError], str]

_AWAY: Final[_Entry] = (BrokerUnavailable, "check the brokers, then forward it again with the same event_id")
_REPLICAS: Final[_Entry] = (BrokerUnavailable, "bring replicas back, then forward it again")
_CLOSED: Final[_Entry] = (BrokerUnavailable, "the producer was closed first; forward it again from a new one")
_NO_TOPIC: Final[_Entry] = (ConfigError, "create the topic, or correct the producer's `topic`")
_LOGIN: Final[_Entry] = (ConfigError, "correct security.protocol, sasl.* and ssl.* in `kafka_config`")
_FORBIDDEN: Final[_Entry] = (ConfigError, "grant this client Write and Describe on the topic")
_TOO_LARGE: Final[_Entry] = (ConfigError, "raise the topic's max.message.bytes to Kafka's default, 1,048,588")
_REFUSED: Final[_Entry] = (TerminalError, "the broker refuses the message; check the topic's settings")
_FATAL: Final[_Entry] = (TerminalError, "this producer cannot go on; close it and make a new one")
_UNKNOWN: Final[_Entry] = (TerminalError, "look the code up in librdkafka's documentation")

TABLE: Final[dict[int, _Entry]] = {
    KafkaError._MSG_TIMED_OUT: _AWAY,
    KafkaError._TIMED_OUT: _AWAY,
    KafkaError._TIMED_OUT_QUEUE: _AWAY,
    KafkaError._TRANSPORT: _AWAY,
    KafkaError._DESTROY_BROKER: _AWAY,
    KafkaError._RESOLVE: _AWAY,
    KafkaError._ALL_BROKERS_DOWN: _AWAY,
    KafkaError.LEADER_NOT_AVAILABLE: _AWAY,
    KafkaError.NOT_LEADER_FOR_PARTITION: _AWAY,
    KafkaError.REQUEST_TIMED_OUT: _AWAY,
    KafkaError.BROKER_NOT_AVAILABLE: _AWAY,
    KafkaError.REPLICA_NOT_AVAILABLE: _AWAY,
    KafkaError.NETWORK_EXCEPTION: _AWAY,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS: _AWAY,
    KafkaError.COORDINATOR_NOT_AVAILABLE: _AWAY,
    KafkaError.NOT_COORDINATOR: _AWAY,
    KafkaError.KAFKA_STORAGE_ERROR: _AWAY,
    KafkaError.THROTTLING_QUOTA_EXCEEDED: _AWAY,
    KafkaError._ISR_INSUFF: _REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS: _REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: _REPLICAS,
    KafkaError._PURGE_QUEUE: _CLOSED,
    KafkaError._PURGE_INFLIGHT: _CLOSED,
    KafkaError._DESTROY: _CLOSED,
    KafkaError._UNKNOWN_TOPIC: _NO_TOPIC,
    KafkaError._UNKNOWN_PARTITION: _NO_TOPIC,
    KafkaError.UNKNOWN_TOPIC_OR_PART: _NO_TOPIC,
    KafkaError.UNKNOWN_TOPIC_ID: _NO_TOPIC,
    KafkaError.TOPIC_EXCEPTION: _NO_TOPIC,
    KafkaError._AUTHENTICATION: _LOGIN,
    KafkaError._SSL: _LOGIN,
    KafkaError.SASL_AUTHENTICATION_FAILED: _LOGIN,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: _LOGIN,
    KafkaError.ILLEGAL_SASL_STATE: _LOGIN,
    KafkaError.SECURITY_DISABLED: _LOGIN,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: _FORBIDDEN,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: _FORBIDDEN,
    KafkaError.MSG_SIZE_TOO_LARGE: _TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE: _TOO_LARGE,
    KafkaError.INVALID_MSG: _REFUSED,
    KafkaError.INVALID_MSG_SIZE: _REFUSED,
    KafkaError.INVALID_RECORD: _REFUSED,
    KafkaError.INVALID_TIMESTAMP: _REFUSED,
    KafkaError.INVALID_REQUIRED_ACKS: _REFUSED,
    KafkaError.POLICY_VIOLATION: _REFUSED,
    KafkaError._FATAL: _FATAL,
    KafkaError._FENCED: _FATAL,
    KafkaError.INVALID_PRODUCER_EPOCH: _FATAL,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER: _FATAL,
    KafkaError._INVALID_ARG: (ConfigError, "correct this entry of `kafka_config`"),
}


def translate(error: KafkaError, last_trouble: str = "") -> AuditError:
    """Return our exception for an error of Kafka's client.

    `last_trouble` is the newest thing the client said about its connections: a timeout by itself does not
    tell a refused connection from a refused password.
    """
    kind, advice = TABLE.get(error.code(), _UNKNOWN)
    trouble = f" (last trouble: {last_trouble})" if last_trouble and kind is BrokerUnavailable else ""
    return kind(f"Kafka: {error.str()} [{error.name()}]{trouble}; {advice}")

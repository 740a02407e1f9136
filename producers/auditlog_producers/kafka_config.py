"""The settings of the Kafka client: ours, which carry the promises, and the caller's, which may not."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from auditlog_producers.kafka_errors import translate
from auditlog_schemas.errors import ConfigError
from auditlog_schemas.limits import ID_BYTES_MAX, MESSAGE_BYTES_MAX
from auditlog_schemas.rules import CONTROL_CHARACTER

BUFFER_BYTES_MIN: Final = 4 * MESSAGE_BYTES_MAX
TOPIC_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")

_PARAMETER: Final = "has a parameter of AuditProducer"
_ORDER: Final = "would break the order of an account's events or store them twice"
_LOSS: Final = "would call events delivered that can still be lost"
_REPORT: Final = "would hide what became of an event"
_KEY: Final = "all clients must send an account to the same partition"

REFUSED: Final[dict[str, str]] = {
    "bootstrap.servers": _PARAMETER,
    "metadata.broker.list": _PARAMETER,
    "queue.buffering.max.messages": _PARAMETER,
    "queue.buffering.max.kbytes": _PARAMETER,
    "message.timeout.ms": _PARAMETER,
    "delivery.timeout.ms": _PARAMETER,
    "acks": _LOSS,
    "request.required.acks": _LOSS,
    "enable.idempotence": _ORDER,
    "enable.gapless.guarantee": "would stop the producer for good at the first lost event",
    "max.in.flight": _ORDER,
    "max.in.flight.requests.per.connection": _ORDER,
    "retries": _ORDER,
    "message.send.max.retries": _ORDER,
    "queuing.strategy": _ORDER,
    "msg_order_cmp": _ORDER,
    "transactional.id": "events are not published in Kafka transactions",
    "partitioner": _KEY,
    "partitioner_cb": _KEY,
    "message.max.bytes": f"messages of {MESSAGE_BYTES_MAX:,} bytes must fit",
    "default.topic.config": "set topic settings at the top level",
    "produce.offset.report": _REPORT,
    "delivery.report.only.error": _REPORT,
    "dr_cb": _REPORT,
    "dr_msg_cb": _REPORT,
    "on_delivery": _REPORT,
    "error_cb": _REPORT,
    "enabled_events": _REPORT,
    "logger": "the client logs to the standard library's logger auditlog_producers.kafka",
    "log_cb": "the client logs to the standard library's logger auditlog_producers.kafka",
}
"""Keys that a caller may not set, and why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds a producer runs with; messages include their keys and headers."""

    buffer_messages_max: int
    buffer_bytes_max: int
    block_seconds_max: float
    delivery_timeout_seconds: float

    def __post_init__(self) -> None:
        _require("buffer_messages_max", self.buffer_messages_max, 1, 10_000_000)
        _require("buffer_bytes_max", self.buffer_bytes_max, BUFFER_BYTES_MIN, 2_147_483_647 * 1024)
        _require("block_seconds_max", self.block_seconds_max, 0, 3_600)
        _require("delivery_timeout_seconds", self.delivery_timeout_seconds, 0.1, 86_400)


def open_client(
    kafka: str, limits: Limits, extra: Mapping[str, Any], on_error: Callable[[KafkaError], None]
) -> Producer:
    """Open the Kafka client. It connects in the background; a broker that is away is no error here.

    Raises:
        ConfigError: a key of `extra` is refused or unknown, or its value is wrong.
    """
    if not kafka.strip():
        raise ConfigError("kafka: is empty; give host:port of one or more brokers, separated by commas")
    for key in extra:
        if key in REFUSED:
            raise ConfigError(f"kafka_config: {key} cannot be set: {REFUSED[key]}")
    config = {
        "linger.ms": 5,
        "compression.type": "lz4",
        "reconnect.backoff.max.ms": 2_000,
        # Below "error": the client reports errors to `on_error` as well, which logs them less often.
        "log_level": 2,
        **extra,
        "bootstrap.servers": kafka,
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "message.timeout.ms": round(limits.delivery_timeout_seconds * 1000),
        "queue.buffering.max.messages": limits.buffer_messages_max,
        "queue.buffering.max.kbytes": limits.buffer_bytes_max // 1024,
        "error_cb": on_error,
    }
    try:
        return Producer(config, logger=logging.getLogger("auditlog_producers.kafka"))
    except KafkaException as error:
        raise translate(error.args[0]) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"kafka_config: {error}") from error


def require_topic(topic: str) -> str:
    """Return a topic's name if Kafka allows it.

    Raises:
        ConfigError: it does not.
    """
    if not TOPIC_NAME.fullmatch(topic) or topic in (".", ".."):
        raise ConfigError(f"topic: {topic!r:.80} is not a Kafka topic name (letters, digits, '.', '_', '-')")
    return topic


def require_identifier(name: str, value: str) -> str:
    """Return `value` if it may stand in an event's `source`.

    Raises:
        ConfigError: it is empty, longer than 256 bytes, no text, or has a control character.
    """
    try:
        size = len(value.encode("utf-8"))
    except (AttributeError, UnicodeEncodeError):
        raise ConfigError(f"{name}: {value!r:.80} is not text that UTF-8 can hold") from None
    if not 1 <= size <= ID_BYTES_MAX or CONTROL_CHARACTER.search(value):
        raise ConfigError(f"{name}: {value!r:.80} needs 1 to {ID_BYTES_MAX} bytes without control characters")
    return value


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name}: is {value:,}, must be from {low:,} to {high:,}")

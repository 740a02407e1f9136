"""Dead letters: rejected messages on a topic of their own, each with its reason.

At least once: a batch that is tried again dead-letters its rejected messages again, under the same key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from auditlog_schemas.errors import (
    BrokerUnavailable,
    DecodeError,
    FieldLimitExceeded,
    InvalidEvent,
    UnknownAction,
    UnknownSchema,
)
from confluent_kafka import KafkaError, KafkaException, Producer

from auditlog_consumer.judge import Rejection
from auditlog_consumer.kafka_errors import translate
from auditlog_consumer.partition import Partition

ACKNOWLEDGED_SECONDS_MAX: Final = 30.0
DETAIL_BYTES_MAX: Final = 1_000

REASONS: Final[tuple[tuple[type[InvalidEvent], str], ...]] = (
    (DecodeError, "undecodable"),
    (UnknownSchema, "unknown_schema"),
    (UnknownAction, "unknown_action"),
    (FieldLimitExceeded, "limit_exceeded"),
    (InvalidEvent, "invalid"),
)
"""The header ``reason`` by class of error, most specific first."""


DeliveryCallback: TypeAlias = Callable[[KafkaError | None, object], None]
Headers: TypeAlias = list[tuple[str, str | bytes | None]]


class DeadLetterSink:
    """Writes dead letters and waits until Kafka has them."""

    def __init__(
        self, kafka: str, topic: str, catalog_version: str, config: Mapping[str, str] | None = None
    ) -> None:
        self._topic = topic
        self._catalog_version = catalog_version
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "message.max.bytes": 2 * 1024 * 1024,
                "delivery.timeout.ms": int(ACKNOWLEDGED_SECONDS_MAX * 1000),
                "log_level": 2,
                **(config or {}),
            }
        )

    def write(self, partition: Partition, rejected: Sequence[Rejection]) -> None:
        """Write the dead letters of one batch; return once every replica that must have them has them.

        Raises:
            BrokerUnavailable: some were not acknowledged in time: write all of them again.
            TerminalError: Kafka refuses them.
        """
        outcomes: list[KafkaError | None] = []
        for rejection in rejected:
            # Appending is atomic: another storing thread's poll may run this batch's callbacks.
            self._produce(partition, rejection, lambda error, _: outcomes.append(error))
        deadline = time.monotonic() + ACKNOWLEDGED_SECONDS_MAX + 5.0
        while len(outcomes) < len(rejected) and time.monotonic() < deadline:
            self._producer.poll(0.1)
        for error in outcomes:
            if error is not None:
                raise translate(error, f"writing dead letters to {self._topic}")
        if len(outcomes) < len(rejected):
            missing = len(rejected) - len(outcomes)
            raise BrokerUnavailable(f"Kafka did not acknowledge {missing} dead letters to {self._topic}")

    def close(self) -> None:
        """Drop what is not acknowledged; its batch is not committed and comes again."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _produce(self, partition: Partition, rejection: Rejection, delivered: DeliveryCallback) -> None:
        message = rejection.message
        key = f"{partition.topic_id}/{partition.number}/{message.offset()}"
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value=message.value(),
                    key=key,
                    headers=headers(partition, rejection, self._catalog_version),
                    on_delivery=delivered,
                )
                break
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise translate(error.args[0], f"writing dead letters to {self._topic}") from error
        self._producer.poll(0)


def headers(partition: Partition, rejection: Rejection, catalog_version: str) -> Headers:
    """Return a dead letter's headers; all values are UTF-8 text, but ``source_key``, the original bytes."""
    error, message = rejection.error, rejection.message
    text = {
        "reason": next(name for kind, name in REASONS if isinstance(error, kind)),
        "rule": error.rule,
        "field": error.field,
        "detail": error.detail,
        "source_topic": partition.topic,
        "source_topic_id": str(partition.topic_id),
        "source_partition": str(partition.number),
        "source_offset": str(message.offset()),
        "source_timestamp": str(message.timestamp()[1]),
        "catalog_version": catalog_version,
    }
    fields: Headers = [
        (name, value.encode("utf-8", "replace")[:DETAIL_BYTES_MAX]) for name, value in text.items()
    ]
    return [*fields, ("source_key", message.key())]

"""Writing messages as they are, and waiting until Kafka has them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Producer

from auditlog_consumer.kafka_errors import made, translate
from auditlog_schemas.errors import BrokerUnavailable

ACKNOWLEDGED_SECONDS_MAX: Final = 30.0

Headers: TypeAlias = list[tuple[str, str | bytes | None]]


class Outgoing(NamedTuple):
    """A message to write; ``value`` None is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: Headers | None = None


class AcknowledgedWriter:
    """Writes messages and returns when all in-sync replicas have them. Thread-safe."""

    def __init__(self, kafka: str, config: Mapping[str, str] | None = None) -> None:
        self._producer = made(
            Producer,
            {
                **(config or {}),
                "bootstrap.servers": kafka,
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                # How large a message may be is for the topic to say; a batch of several stays below that.
                "message.max.bytes": 1_000_000_000,
                "batch.size": 750_000,
                # Of all threads together; who writes more waits until some of it is acknowledged.
                "queue.buffering.max.kbytes": 32 * 1024,
                "delivery.timeout.ms": int(ACKNOWLEDGED_SECONDS_MAX * 1000),
                "log_level": 2,
            },
        )

    def write(self, topic: str, messages: Iterable[Outgoing]) -> None:
        """Write all messages, in order within a key. Each is taken when there is room for it.

        Raises:
            BrokerUnavailable: some were not acknowledged in time; any of them may be there or not.
            TerminalError: Kafka refuses them.
        """
        outcomes: list[KafkaError | None] = []
        count = 0
        for message in messages:
            self._produce(topic, message, outcomes)
            count += 1
        deadline = time.monotonic() + ACKNOWLEDGED_SECONDS_MAX + 5.0
        while len(outcomes) < count and time.monotonic() < deadline:
            self._producer.poll(0.05)
        for error in outcomes:
            if error is not None:
                raise translate(error, f"writing to {topic}")
        if missing := count - len(outcomes):
            raise BrokerUnavailable(f"Kafka did not acknowledge {missing} messages written to {topic}")

    def close(self) -> None:
        """Drop what is not acknowledged."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _produce(self, topic: str, message: Outgoing, outcomes: list[KafkaError | None]) -> None:
        while True:
            try:
                self._producer.produce(
                    topic,
                    value=message.value,
                    key=message.key,
                    headers=message.headers,
                    # Appending is atomic: another thread's poll may run this callback.
                    on_delivery=lambda error, _: outcomes.append(error),
                )
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise translate(error.args[0], f"writing to {topic}") from error

"""Dead letters: rejected messages on a topic of their own, each with its reason.

At least once: a batch that is tried again dead-letters its rejected messages again, under the same key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from auditlog_consumer.acknowledged import AcknowledgedWriter, Headers, Outgoing
from auditlog_consumer.judge import Rejection
from auditlog_consumer.partition import Partition
from auditlog_schemas.errors import (
    DecodeError,
    FieldLimitExceeded,
    InvalidEvent,
    UnknownAction,
    UnknownSchema,
)

HEADER_BYTES_MAX: Final = 1_000

REASONS: Final[tuple[tuple[type[InvalidEvent], str], ...]] = (
    (DecodeError, "undecodable"),
    (UnknownSchema, "unknown_schema"),
    (UnknownAction, "unknown_action"),
    (FieldLimitExceeded, "limit_exceeded"),
    (InvalidEvent, "invalid"),
)
"""The header ``reason`` by class of error, most specific first."""


class DeadLetterSink:
    """Writes dead letters and waits until Kafka has them. Thread-safe."""

    def __init__(self, writer: AcknowledgedWriter, topic: str, catalog_version: str) -> None:
        self._writer = writer
        self._topic = topic
        self._catalog_version = catalog_version

    def write(self, partition: Partition, rejected: Sequence[Rejection]) -> None:
        """Write the dead letters of one batch; return once Kafka has acknowledged all of them.

        Raises:
            BrokerUnavailable: some were not acknowledged in time: write all of them again.
            TerminalError: Kafka refuses them.
        """
        letters = [
            Outgoing(
                key=letter_key(partition, rejection).encode(),
                value=rejection.value,
                headers=headers(partition, rejection, self._catalog_version),
            )
            for rejection in rejected
        ]
        self._writer.write(self._topic, letters)


def letter_key(partition: Partition, rejection: Rejection) -> str:
    """Return a dead letter's key: the source's topic id, partition and offset."""
    return f"{partition.topic_id}/{partition.number}/{rejection.offset}"


def headers(partition: Partition, rejection: Rejection, catalog_version: str) -> Headers:
    """Return a dead letter's headers; all values are UTF-8 text, but ``source_key``, the original bytes."""
    error = rejection.error
    text = {
        "reason": next(name for kind, name in REASONS if isinstance(error, kind)),
        "rule": error.rule,
        "field": error.field,
        "detail": error.detail,
        "source_topic": partition.topic,
        "source_topic_id": str(partition.topic_id),
        "source_partition": str(partition.number),
        "source_offset": str(rejection.offset),
        "source_timestamp": str(rejection.received_millis),
        "catalog_version": catalog_version,
    }
    fields: Headers = [
        (name, value.encode("utf-8", "replace")[:HEADER_BYTES_MAX]) for name, value in text.items()
    ]
    return [*fields, ("source_key", rejection.key)]

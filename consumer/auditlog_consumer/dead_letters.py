"""Dead letters: rejected messages on a topic of their own, each with its reason.

At least once: a batch that is tried again dead-letters its rejected messages again, under the same key.

A message that is too large for one letter is written in pieces: messages of one key, in order, with the
headers of the letter and ``piece`` and ``pieces``. Kafka's limits are on compressed batches, so what one
topic takes another one may refuse; pieces fit without compression.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import chain
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
PIECE_BYTES_MAX: Final = 512 * 1024
KEY_BYTES_MAX: Final = 64 * 1024
"""A longer key is not in the header ``source_key`` but the beginning of the body."""
DEAD_MESSAGE_BYTES_MIN: Final = 1_000_000
"""What a dead-letter topic has to take: a piece with its headers, or a batch of smaller letters."""

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
        letters = (letters_of(partition, each, self._catalog_version) for each in rejected)
        self._writer.write(self._topic, chain.from_iterable(letters))


def letters_of(partition: Partition, rejection: Rejection, catalog_version: str) -> Iterator[Outgoing]:
    """Yield the messages of one letter: one, or its pieces in order."""
    key, about = letter_key(partition, rejection).encode(), _headers(partition, rejection, catalog_version)
    source_key, body = rejection.key, rejection.value
    if source_key is not None and len(source_key) > KEY_BYTES_MAX:
        about.append(("source_key_bytes", str(len(source_key)).encode()))
        if body is None:
            about.append(("source_value", b"null"))
        body = source_key + (body or b"")
    else:
        about.append(("source_key", source_key))
    if body is None or len(body) <= PIECE_BYTES_MAX:
        yield Outgoing(key, body, about)
        return
    starts = range(0, len(body), PIECE_BYTES_MAX)
    about += [("sha256", sha256(body).hexdigest().encode()), ("pieces", str(len(starts)).encode())]
    for piece, start in enumerate(starts):
        yield Outgoing(key, body[start : start + PIECE_BYTES_MAX], [*about, ("piece", str(piece).encode())])


def letter_key(partition: Partition, rejection: Rejection) -> str:
    """Return a dead letter's key: the source's topic id, partition and offset."""
    return f"{partition.topic_id}/{partition.number}/{rejection.offset}"


def _headers(partition: Partition, rejection: Rejection, catalog_version: str) -> Headers:
    """Return a dead letter's headers but for those of its body; all values are UTF-8 text."""
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
        **({"source_last_offset": str(rejection.last_offset)} if rejection.offsets > 1 else {}),
        "source_timestamp": str(rejection.received_millis),
        "catalog_version": catalog_version,
    }
    return [(name, value.encode("utf-8", "replace")[:HEADER_BYTES_MAX]) for name, value in text.items()]

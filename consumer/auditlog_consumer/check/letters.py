"""Reading the dead-letter topic: which offsets have a letter, and which sequence numbers they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from auditlog_consumer.check.letter_offsets import LetterOffsets
from auditlog_consumer.check.topic_reader import read_between
from auditlog_consumer.dead_letter_log import REPLAYED_HEADER
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import Topics
from auditlog_schemas.errors import ConfigError

PARTITION_MAX: Final = (1 << 31) - 1
OFFSET_MAX: Final = (1 << 63) - 1


def read_letters(
    settings: ConsumerSettings, topics: Topics, offsets: LetterOffsets, on_body: Callable[[bytes], None]
) -> None:
    """Add the source offset of every dead letter there is now; hand the body of each to `on_body`.

    Raises:
        ConfigError: there is no dead-letter topic.
        BrokerUnavailable: Kafka did not answer.
    """
    info = topics.find(settings.dead_topic)
    if info is None:
        raise ConfigError(f"Kafka has no topic {settings.dead_topic!r}: `auditlog consume` creates it")
    spans = {number: topics.ends(info.name, number) for number in range(info.partitions)}
    for message in _each(settings, info.name, spans):
        place = source_of(message)
        if place is not None:
            offsets.add(*place)
            if body := message.value():
                on_body(body)


def source_of(message: Any) -> tuple[UUID, int, int] | None:
    """Return the topic id, partition and offset that a letter was rejected from, by its headers.

    None for a note of a replay, and for what somebody else wrote to the topic.
    """
    headers = {name: value or b"" for name, value in message.headers() or ()}
    if REPLAYED_HEADER in headers:
        return None
    number = _number(headers.get("source_partition", b""), PARTITION_MAX)
    offset = _number(headers.get("source_offset", b""), OFFSET_MAX)
    if number is None or offset is None:
        return None
    with suppress(ValueError):
        return UUID(headers.get("source_topic_id", b"").decode("ascii", "replace")), number, offset
    return None


def _number(digits: bytes, number_max: int) -> int | None:
    # Somebody else may write anything: no Python number is made of a million digits.
    if not digits.isdigit() or len(digits) > len(str(number_max)):
        return None
    number = int(digits)
    return number if number <= number_max else None


def _each(settings: ConsumerSettings, topic: str, spans: dict[int, tuple[int, int]]) -> Iterator[Any]:
    for messages in read_between(settings, topic, spans):
        yield from messages

"""Reading the dead-letter topic: which offsets have a letter, and which sequence numbers they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from auditlog_consumer.check.letter_offsets import LetterOffsets
from auditlog_consumer.dead_letter_log import REPLAYED_HEADER, is_whole
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topic_reader import read_between
from auditlog_consumer.topics import Topics
from auditlog_schemas.errors import ConfigError
from auditlog_schemas.limits import MESSAGE_BYTES_MAX

PARTITION_MAX: Final = (1 << 31) - 1
OFFSET_MAX: Final = (1 << 63) - 1
STRETCH_MAX: Final = 1 << 18
"""A letter stands for fewer offsets: a batch has no more than 2^31, and up to 10,000 letters."""


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
            if (body := message.value()) and len(body) <= MESSAGE_BYTES_MAX:
                on_body(body)


def source_of(message: Any) -> tuple[UUID, int, int, int] | None:
    """Return topic id, partition, first and last offset of what a letter stands for, by its headers.

    None for a note of a replay, for what somebody else wrote to the topic, and for a piece of a letter but
    its last one: pieces are written in their order, so then all are there.
    """
    headers = {name: value or b"" for name, value in message.headers() or ()}
    if REPLAYED_HEADER in headers or not is_whole(headers):
        return None
    number = _number(headers.get("source_partition", b""), PARTITION_MAX)
    offset = _number(headers.get("source_offset", b""), OFFSET_MAX)
    last = _number(headers["source_last_offset"], OFFSET_MAX) if "source_last_offset" in headers else offset
    if number is None or offset is None or last is None or not 0 <= last - offset < STRETCH_MAX:
        return None
    with suppress(ValueError):
        return UUID(headers.get("source_topic_id", b"").decode("ascii", "replace")), number, offset, last
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

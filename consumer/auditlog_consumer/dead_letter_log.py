"""Reading the dead letters, and publishing them again after what was wrong has been mended."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from auditlog_consumer.acknowledged import AcknowledgedWriter, Outgoing
from auditlog_consumer.judge import Judge
from auditlog_consumer.kafka_errors import translate
from auditlog_consumer.settings import ConsumerSettings
from auditlog_schemas.errors import BrokerUnavailable, ConfigError, InvalidEvent

REPLAYED_HEADER: Final = "replayed"
"""Marks a note on the dead-letter topic that says: the letter of this key was published again."""
SILENCE_SECONDS_MAX: Final = 30.0
_POLL_MESSAGES_MAX: Final = 1_000
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One rejected message.

    Attributes:
        id: PARTITION/OFFSET of the dead-letter topic.
        key: source topic id, partition and offset, joined by slashes.
        source_time: when the broker received the rejected message, UTC.
        source_key, body: the rejected message's key and bytes as they were.
        replayed: it has been published again since.
    """

    id: str
    key: str
    reason: str
    rule: str
    field: str
    detail: str
    source_topic: str
    source_topic_id: str
    source_partition: int
    source_offset: int
    source_time: datetime
    catalog_version: str
    source_key: bytes | None
    body: bytes | None
    replayed: bool


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of the letters given to `DeadLetterLog.replay`."""

    replayed: int
    still_rejected: int
    already_replayed: int


class DeadLetterLog:
    """The dead-letter topic. Its methods raise BrokerUnavailable when Kafka does not answer."""

    def __init__(self, settings: ConsumerSettings) -> None:
        self._settings = settings

    def read(self) -> Iterator[DeadLetter]:
        """Yield every dead letter there is now, once for each key, in the order of its partition.

        Memory grows with the number of letters, not with their size: keys are remembered, bodies are not.
        """
        replayed = {message.key() for message in self._messages() if _is_note(message)}
        seen: set[bytes] = set()
        for message in self._messages():
            key = message.key() or b""
            if not _is_note(message) and key not in seen:
                seen.add(key)
                yield _letter(message, key in replayed)

    def find(self, name: str) -> DeadLetter | None:
        """Return the letter with this id or key."""
        return next((letter for letter in self.read() if name in (letter.id, letter.key)), None)

    def replay(self, letters: Iterable[DeadLetter], judge: Judge) -> Replayed:
        """Publish the letters again that today's rules accept, unchanged and under their own key.

        At least once: a crash between the publication and the note of it makes a later replay publish the
        same event again, with the same event id.
        """
        writer = AcknowledgedWriter(self._settings.kafka, self._settings.kafka_config)
        replayed = still_rejected = already_replayed = 0
        try:
            for letter in letters:
                if letter.replayed:
                    already_replayed += 1
                elif not _acceptable(letter, judge):
                    still_rejected += 1
                else:
                    writer.write(letter.source_topic, [Outgoing(letter.source_key, letter.body)])
                    note = Outgoing(letter.key.encode(), None, [(REPLAYED_HEADER, b"1")])
                    writer.write(self._settings.dead_topic, [note])
                    replayed += 1
        finally:
            writer.close()
        return Replayed(replayed, still_rejected, already_replayed)

    def _messages(self) -> Iterator[Any]:
        """Yield the messages of the dead-letter topic up to where it ends now."""
        consumer = Consumer(
            {
                **self._settings.kafka_config,
                "bootstrap.servers": self._settings.kafka,
                "group.id": f"{self._settings.group}.dead-letter-log",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                # An empty partition's end is told when its first fetch returns.
                "fetch.wait.max.ms": 20,
                "log_level": 2,
            }
        )
        try:
            yield from self._read_to_end(consumer)
        except KafkaException as error:
            raise translate(error.args[0], "reading the dead letters") from error
        finally:
            consumer.close()

    def _read_to_end(self, consumer: Consumer) -> Iterator[Any]:
        """Yield what there is when the reading begins; letters that come meanwhile are for the next one."""
        topic = self._settings.dead_topic
        found = consumer.list_topics(topic, timeout=SILENCE_SECONDS_MAX).topics[topic]
        if found.error is not None:
            if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise ConfigError(f"Kafka has no topic {topic!r}: `auditlog consume` creates it")
            raise KafkaException(found.error)
        ends: dict[int, int] = {}
        for number in found.partitions:
            low, high = consumer.get_watermark_offsets(
                TopicPartition(topic, number), timeout=SILENCE_SECONDS_MAX
            )
            if high > low:
                ends[number] = high
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in sorted(ends)])
        silent_polls = 0
        while ends:
            received = consumer.consume(_POLL_MESSAGES_MAX, _POLL_SECONDS)
            silent_polls = 0 if received else silent_polls + 1
            if silent_polls * _POLL_SECONDS >= SILENCE_SECONDS_MAX:
                raise BrokerUnavailable(f"Kafka sent nothing of {topic} for {SILENCE_SECONDS_MAX:.0f} s")
            for message in received:
                yield from _until_end(message, ends)


def _until_end(message: Any, ends: dict[int, int]) -> Iterator[Any]:
    """Yield a message that lies before its partition's end; forget the partition when its end is reached."""
    failure = message.error()
    if failure is not None and failure.code() != KafkaError._PARTITION_EOF:
        if not failure.retriable():
            raise KafkaException(failure)
        return
    end = ends.get(message.partition(), 0)
    if failure is None and message.offset() < end:
        yield message
    if failure is not None or message.offset() + 1 >= end:
        ends.pop(message.partition(), None)


def _is_note(message: Any) -> bool:
    return any(name == REPLAYED_HEADER for name, _ in message.headers() or ())


def _letter(message: Any, replayed: bool) -> DeadLetter:
    headers = {name: value or b"" for name, value in message.headers() or ()}
    text = {name: value.decode("utf-8", "replace") for name, value in headers.items()}
    return DeadLetter(
        id=f"{message.partition()}/{message.offset()}",
        key=(message.key() or b"").decode("utf-8", "replace"),
        reason=text.get("reason", ""),
        rule=text.get("rule", ""),
        field=text.get("field", ""),
        detail=text.get("detail", ""),
        source_topic=text.get("source_topic", ""),
        source_topic_id=text.get("source_topic_id", ""),
        source_partition=_number(text.get("source_partition", "")),
        source_offset=_number(text.get("source_offset", "")),
        source_time=_moment(_number(text.get("source_timestamp", ""))),
        catalog_version=text.get("catalog_version", ""),
        source_key=headers.get("source_key") or None,
        body=message.value(),
        replayed=replayed,
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _moment(millis: int) -> datetime:
    """Return a time; what no calendar holds is shown as 1970."""
    try:
        return datetime.fromtimestamp(millis / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _acceptable(letter: DeadLetter, judge: Judge) -> bool:
    # By today's clock, not the letter's: published again, the message has a new timestamp.
    try:
        judge.read(letter.body, int(time.time() * 1000))
    except InvalidEvent:
        return False
    return True

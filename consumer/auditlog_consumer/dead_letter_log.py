"""Reading the dead letters, and publishing them again after what was wrong has been mended."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from auditlog_consumer.acknowledged import AcknowledgedWriter, Outgoing
from auditlog_consumer.judge import Judge
from auditlog_consumer.messages import BATCH_RULES
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topic_reader import read_between
from auditlog_consumer.topics import Topics
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.record import time_of

REPLAYED_HEADER: Final = "replayed"
"""Marks a note on the dead-letter topic that says: the letter of this key was published again."""
_KEY_TEXT: Final = ("utf-8", "surrogateescape")
"""How a letter's key is text: whatever its bytes, the note of a replay has the same."""
INCOMPLETE_BYTES_MAX: Final = 128 << 20
"""Of pieces whose letters are not complete yet."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One rejected message.

    Attributes:
        id: PARTITION/OFFSET of the dead-letter topic.
        key: source topic id, partition and offset, joined by slashes.
        source_offset, source_last_offset: the rejected message's; of several that could not be told apart,
            the first and the last one.
        source_time: when the broker received the rejected message, UTC.
        source_key, body: the rejected message's key and bytes as they were; of a record batch that could not
            be taken apart, its bytes as Kafka keeps them.
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
    source_last_offset: int
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

        Memory grows with the number of letters, not with their size: keys are remembered, bodies are not,
        but for one or a few that are in pieces.
        """
        replayed = {message.key() for message in self._messages() if _is_note(message)}
        seen: set[bytes] = set()
        pieces = _Pieces()
        for message in self._messages():
            key, body = message.key() or b"", message.value()
            headers = {name: value or b"" for name, value in message.headers() or ()}
            if REPLAYED_HEADER in headers or key in seen:
                continue
            if "pieces" in headers and (body := pieces.add(key, headers, body or b"")) is None:
                continue
            seen.add(key)
            yield _letter(message, headers, body, key in replayed)

    def find(self, name: str) -> DeadLetter | None:
        """Return the letter with this id or key."""
        return next((letter for letter in self.read() if name in (letter.id, letter.key)), None)

    def replay(self, letters: Iterable[DeadLetter], judge: Judge) -> Replayed:
        """Publish the letters again that today's rules accept, unchanged, to the topic of the settings.

        The key is the account of the event, as it has to be. Whoever may write dead letters can write
        anything into their headers, so none of those says where a message goes.

        At least once: a crash between the publication and the note of it makes a later replay publish the
        same event again, with the same event id.
        """
        writer = AcknowledgedWriter(self._settings.kafka, self._settings.kafka_config)
        replayed = still_rejected = already_replayed = 0
        try:
            for letter in letters:
                if letter.replayed:
                    already_replayed += 1
                elif (account_id := _account_of(letter, judge)) is None:
                    still_rejected += 1
                else:
                    writer.write(self._settings.topic, [Outgoing(account_id.encode(), letter.body)])
                    note = Outgoing(letter.key.encode(*_KEY_TEXT), None, [(REPLAYED_HEADER, b"1")])
                    writer.write(self._settings.dead_topic, [note])
                    replayed += 1
        finally:
            writer.close()
        return Replayed(replayed, still_rejected, already_replayed)

    def _messages(self) -> Iterator[Any]:
        """Yield the messages of the dead-letter topic up to where it ends now."""
        topics = Topics(self._settings.kafka, self._settings.kafka_config)
        info = topics.describe(self._settings.dead_topic)
        spans = {number: topics.ends(info.name, number) for number in range(info.partitions)}
        for messages in read_between(self._settings, info.name, spans):
            yield from messages


class _Pieces:
    """Puts letters together that were written in pieces.

    Pieces of several letters may come between each other, and some of a writer that was killed are never
    complete: those are forgotten once `INCOMPLETE_BYTES_MAX` are held.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[bytes, dict[int, bytes]] = OrderedDict()
        self._bytes = 0

    def add(self, key: bytes, headers: Mapping[str, bytes], body: bytes) -> bytes | None:
        """Return the whole body when this is the last piece of it, and all others are there."""
        pieces = self._held.setdefault(key, {})
        self._bytes += len(body) - len(pieces.get(_number(headers.get("piece", b"")), b""))
        pieces[_number(headers.get("piece", b""))] = body
        whole = None
        if is_whole(headers):
            joined = b"".join(piece for _, piece in sorted(pieces.items()))
            if sha256(joined).hexdigest().encode() == headers.get("sha256"):
                whole = joined
                self._forget(key)
        while self._bytes > INCOMPLETE_BYTES_MAX:
            self._forget(next(iter(self._held)))
        return whole

    def _forget(self, key: bytes) -> None:
        self._bytes -= sum(map(len, self._held.pop(key).values()))


def is_whole(headers: Mapping[str, bytes]) -> bool:
    """Tell whether this is a letter in one message, or the last piece of one: all its pieces came before."""
    return _number(headers.get("piece", b"0")) + 1 == _number(headers.get("pieces", b"1"))


def _is_note(message: Any) -> bool:
    return any(name == REPLAYED_HEADER for name, _ in message.headers() or ())


def _letter(message: Any, headers: Mapping[str, bytes], body: bytes | None, replayed: bool) -> DeadLetter:
    text = {name: value.decode("utf-8", "replace") for name, value in headers.items()}
    source_key = headers.get("source_key") or None
    if body is not None and "source_key_bytes" in headers:
        # The key was too long for a header.
        key_bytes = _number(headers["source_key_bytes"])
        source_key, body = body[:key_bytes], body[key_bytes:]
        body = None if headers.get("source_value") == b"null" else body
    offset = _number(headers.get("source_offset", b""))
    return DeadLetter(
        id=f"{message.partition()}/{message.offset()}",
        key=(message.key() or b"").decode(*_KEY_TEXT),
        reason=text.get("reason", ""),
        rule=text.get("rule", ""),
        field=text.get("field", ""),
        detail=text.get("detail", ""),
        source_topic=text.get("source_topic", ""),
        source_topic_id=text.get("source_topic_id", ""),
        source_partition=_number(headers.get("source_partition", b"")),
        source_offset=offset,
        source_last_offset=max(_number(headers.get("source_last_offset", b"")), offset),
        source_time=time_of(_number(headers.get("source_timestamp", b""))),
        catalog_version=text.get("catalog_version", ""),
        source_key=source_key,
        body=body,
        replayed=replayed,
    )


def _number(digits: bytes) -> int:
    return int(digits) if digits.isdigit() and len(digits) <= 19 else 0


def _account_of(letter: DeadLetter, judge: Judge) -> str | None:
    """Return the account of a letter's event, or None when today's rules reject it too."""
    if letter.rule in BATCH_RULES:
        return None
    # By today's clock, not the letter's: published again, the message has a new timestamp.
    try:
        account_id: str = judge.read(letter.body, int(time.time() * 1000))["account_id"]
    except InvalidEvent:
        return None
    return account_id

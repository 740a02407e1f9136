"""Is the topic still the one we know, and whole? One made again has the same name and other messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from auditlog_schemas.errors import BrokerUnavailable, ConfigError


class Names(Protocol):
    """Tells which topic has a name now; `Topics` fits."""

    def identify(self, topic: str) -> UUID | None:
        """Return Kafka's id of the topic that has this name now, or None when there is none."""


class TopicIdentity:
    """Confirms that messages came from the topic we know. Thread-safe.

    Kafka's client goes on reading by name when a topic was deleted and made again, at the same offsets, and
    says nothing. Ids never come back: what was read before a moment at which the id is still the same came
    from the same topic.

    Args:
        kafka: tells the id.
        topic, topic_id: which topic it has to be.
        monotonic: a clock, in seconds.
        look: raises ConfigError when Kafka deletes messages between others, as compaction does, and
            BrokerUnavailable when it does not tell.
    """

    def __init__(
        self,
        kafka: Names,
        topic: str,
        topic_id: UUID,
        monotonic: Callable[[], float],
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._topic_id = topic_id
        self._monotonic = monotonic
        self._look = look
        self._confirmed_seconds = self._looked_seconds = float("-inf")

    def confirm(self, read_seconds: float) -> None:
        """Return when all messages read before `read_seconds` are known to be of our topic.

        Raises:
            ConfigError: the topic was deleted and made again.
            BrokerUnavailable: Kafka did not answer, or has no such topic.
        """
        if self._confirmed_seconds >= read_seconds:
            return
        asked_seconds = self._monotonic()
        found = self._kafka.identify(self._topic)
        if found is None:
            raise BrokerUnavailable(f"Kafka has no topic {self._topic!r} any more")
        if found != self._topic_id:
            raise ConfigError(
                f"topic {self._topic} was deleted and made again: its id is {found}, it was "
                f"{self._topic_id}; see docs/operations.md, 'topic recreated'"
            )
        self._confirmed_seconds = max(self._confirmed_seconds, asked_seconds)

    def confirm_gaps(self, read_seconds: float) -> None:
        """Return when offsets that were read without a message before `read_seconds` may count as absent.

        Raises:
            ConfigError: compaction may have deleted their messages.
            BrokerUnavailable: Kafka did not answer.
        """
        if self._looked_seconds >= read_seconds:
            return
        asked_seconds = self._monotonic()
        self._look()
        self._looked_seconds = max(self._looked_seconds, asked_seconds)

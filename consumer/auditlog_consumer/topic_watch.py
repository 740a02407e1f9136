"""A watch on the topics' settings while consumers run: anybody may change them at any time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

import structlog

from auditlog_consumer import metrics
from auditlog_consumer.topic_rules import TopicFault, faults_of_events, faults_of_letters
from auditlog_consumer.topics import TopicInfo
from auditlog_schemas.errors import AuditError, ConfigError, TransientError

LOOK_SECONDS: Final = 30.0

_log = structlog.get_logger("auditlog.consumer")


class Describing(Protocol):
    """Tells a topic's settings; `Topics` fits."""

    def find(self, topic: str) -> TopicInfo | None:
        """Return a topic's identity, size and settings, or None when there is no such topic."""


class TopicWatch:
    """Knows what is wrong with the settings of both topics. Thread-safe.

    Args:
        topics: describes topics.
        topic, dead_topic: which ones.
    """

    def __init__(self, topics: Describing, topic: str, dead_topic: str) -> None:
        self._topics = topics
        self._topic, self._dead_topic = topic, dead_topic
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], TopicFault] = {}

    def look(self) -> None:
        """Ask Kafka for the settings, and judge them.

        Raises:
            BrokerUnavailable: Kafka did not answer.
            ConfigError: as in `judge`, or Kafka does not let us ask.
        """
        self.judge(self._topics.find(self._topic), self._topics.find(self._dead_topic))

    def judge(self, events: TopicInfo | None, letters: TopicInfo | None) -> None:
        """Say what has become wrong since the last time, and show it in the metrics.

        Args:
            events, letters: what the topics are now; None for one that is gone, of which nothing is said.

        Raises:
            ConfigError: with a setting as it is now no consumer can work.
        """
        faults = list(faults_of_events(events)) if events else []
        faults += faults_of_letters(letters) if letters else []
        with self._lock:
            found = {(fault.topic, fault.setting): fault for fault in faults}
            for at in self._known.keys() - found.keys():
                with suppress(KeyError):
                    metrics.TOPIC_FAULTS.remove(*at)
            for at, fault in found.items():
                metrics.TOPIC_FAULTS.labels(*at).set(1)
                if fault != self._known.get(at) and not fault.is_refused:
                    _log.warning(
                        "messages may be lost by a setting; see docs/operations.md, 'settings of the topics'",
                        topic=fault.topic,
                        error=str(fault),
                    )
            self._known = found
        for fault in faults:
            if fault.is_refused:
                raise ConfigError(f"{fault}; see docs/operations.md, 'settings of the topics'")

    @contextmanager
    def watching(self, stop: threading.Event) -> Iterator[None]:
        """Look at the settings again and again while inside.

        When they become such that no consumer can work, `stop` is set, and leaving raises what it was.

        Raises:
            ConfigError: as in `look`.
        """
        failures: list[AuditError] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_SECONDS):
                try:
                    self.look()
                except TransientError:
                    # Whoever reads or writes says so.
                    continue
                except AuditError as error:
                    failures.append(error)
                    stop.set()
                    return

        threading.Thread(target=watch, name="topics", daemon=True).start()
        try:
            yield
        finally:
            over.set()
        if failures:
            raise failures[0]

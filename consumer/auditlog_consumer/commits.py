"""Offset commits on their way between the threads that want them and the one that polls.

librdkafka's Python binding lets one thread into a consumer at a time, and the polling one is nearly always
inside: a commit from another thread would wait for ever. So threads leave their wish here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import KafkaError, TopicPartition

from auditlog_consumer.kafka_errors import translate
from auditlog_schemas.errors import BrokerUnavailable

ANSWER_SECONDS_MAX: Final = 15.0

_NOT_A_MEMBER: Final = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError._DESTROY,
    }
)


@dataclass(frozen=True, slots=True)
class _Wish:
    offset: int
    metadata: str
    answer: Future[None] = field(default_factory=Future)


class Commits:
    """Wishes for commits: one at a time on its way for each partition, so that they arrive in order.

    Args:
        on_wish: called when there is something to be sent, by the thread that wishes.
    """

    def __init__(self, on_wish: Callable[[], None] = lambda: None) -> None:
        self._on_wish = on_wish
        self._lock = threading.Lock()
        self._waiting: dict[int, list[_Wish]] = {}
        self._sent: dict[int, _Wish] = {}
        self._open: set[int] = set()

    def open(self, partition: int) -> None:
        """Take wishes for a partition, until it is dropped."""
        with self._lock:
            self._open.add(partition)

    def ask(self, partition: int, offset: int, metadata: str) -> None:
        """Have an offset committed, and return once Kafka has done it.

        Raises:
            BrokerUnavailable: Kafka did not answer in time, or the group is changing or does without us.
            ConfigError, TerminalError: Kafka refuses it for good.
        """
        wish = _Wish(offset, metadata)
        with self._lock:
            if partition not in self._open:
                raise BrokerUnavailable("the partition was taken away")
            self._waiting.setdefault(partition, []).append(wish)
        self._on_wish()
        try:
            wish.answer.result(ANSWER_SECONDS_MAX)
        except TimeoutError as error:
            with self._lock, suppress(ValueError):
                self._waiting.get(partition, []).remove(wish)
            raise BrokerUnavailable("Kafka did not answer a commit in time") from error

    def leave(self, partition: int, offset: int, metadata: str) -> None:
        """Have an offset committed after what was wished for the partition before; wait for nothing."""
        with self._lock:
            if partition in self._open:
                self._waiting.setdefault(partition, []).append(_Wish(offset, metadata))

    def leave_behind(self, partition: int, offset: int, metadata: str) -> None:
        """Have an offset committed as the last one of a partition that takes no wishes any more."""
        with self._lock:
            self._waiting.setdefault(partition, []).append(_Wish(offset, metadata))

    def take(self) -> list[tuple[int, int, str]]:
        """Return (partition, offset, metadata) of what is to be sent now."""
        with self._lock:
            ready = {
                number: wishes.pop(0)
                for number, wishes in self._waiting.items()
                if wishes and number not in self._sent
            }
            self._sent |= ready
        return [(number, wish.offset, wish.metadata) for number, wish in ready.items()]

    @property
    def are_on_their_way(self) -> bool:
        """Tell whether an answer is awaited."""
        return bool(self._sent)

    def answer(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Pass on what Kafka says of commits that were sent: librdkafka's ``on_commit``."""
        with self._lock:
            sent = [(self._sent.pop(at.partition, None), at.error or error) for at in partitions]
        for wish, failure in sent:
            if wish is not None:
                _settle(wish, failure)

    def drop(self, partitions: Iterable[int]) -> None:
        """Let go of those who wait for a commit of these partitions; it may be made all the same."""
        numbers = set(partitions)
        with self._lock:
            self._open -= numbers
            dropped = [wish for number in numbers for wish in self._waiting.pop(number, [])]
            dropped += [self._sent[number] for number in numbers if number in self._sent]
        for wish in dropped:
            with suppress(InvalidStateError):
                wish.answer.set_exception(BrokerUnavailable("the partition was taken away"))

    def close(self) -> None:
        """Let go of everybody, now and later."""
        with self._lock:
            numbers = self._open | self._waiting.keys() | self._sent.keys()
        self.drop(numbers)


def _settle(wish: _Wish, failure: KafkaError | None) -> None:
    # Somebody who has given up has an answer already.
    with suppress(InvalidStateError):
        if failure is None:
            wish.answer.set_result(None)
        elif failure.code() in _NOT_A_MEMBER:
            text = f"Kafka takes no commit of ours now: {failure.str()}"
            wish.answer.set_exception(BrokerUnavailable(text))
        else:
            wish.answer.set_exception(translate(failure, "committing an offset"))

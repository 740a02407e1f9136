"""Offset commits on their way between the threads that want them and the one that polls.

librdkafka's Python binding lets one thread into a consumer at a time, and the polling one is nearly always
inside: a commit from another thread would wait for ever. So threads leave their wish here.

A wish is made in the name of an epoch, and dies with it. The polling thread ends epochs and sends wishes, so
that between its last look at an epoch and the sending nothing can end it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from confluent_kafka import KafkaError, TopicPartition

from auditlog_consumer.kafka_errors import translate
from auditlog_consumer.partition import Epoch
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


Wait: TypeAlias = Callable[[Future[None], float], None]
"""Waits for an answer, and raises what it holds; raises TimeoutError after so many seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """A commit that is wanted.

    Attributes:
        partition, offset, metadata: what is to be committed.
        epoch: in whose name; None when the polling thread itself wants it.
        answer: done once Kafka has answered, or nobody will send it.
    """

    partition: int
    offset: int
    metadata: str
    epoch: Epoch | None
    answer: Future[None] = field(default_factory=Future)

    @property
    def is_void(self) -> bool:
        """Tell whether nobody may send it any more."""
        return self.epoch is not None and not self.epoch.alive


def _result(answer: Future[None], seconds: float) -> None:
    answer.result(seconds)


class Commits:
    """Wishes for commits: one at a time on its way for each partition, so that they arrive in order.

    Args:
        on_wish: called when there is something to be sent, by the thread that wishes.
        wait: how a thread waits for its answer.
    """

    def __init__(self, on_wish: Callable[[], None] = lambda: None, wait: Wait = _result) -> None:
        self._on_wish = on_wish
        self._wait = wait
        self._lock = threading.Lock()
        self._waiting: dict[int, list[Wish]] = {}
        self._sent: dict[int, Wish] = {}

    def ask(self, epoch: Epoch, partition: int, offset: int, metadata: str) -> None:
        """Have an offset committed, and return once Kafka has done it.

        Raises:
            EpochEnded: the epoch has ended, or begins nothing new; nothing was sent.
            BrokerUnavailable: Kafka did not answer in time, or the group is changing or does without us.
            ConfigError, TerminalError: Kafka refuses it for good.
        """
        wish = Wish(partition, offset, metadata, epoch)
        with self._lock:
            epoch.require_open()
            self._waiting.setdefault(partition, []).append(wish)
        self._on_wish()
        try:
            self._wait(wish.answer, ANSWER_SECONDS_MAX)
        except TimeoutError as error:
            with self._lock, suppress(ValueError):
                self._waiting.get(partition, []).remove(wish)
            raise BrokerUnavailable("Kafka did not answer a commit in time") from error

    def leave(self, epoch: Epoch | None, partition: int, offset: int, metadata: str) -> None:
        """Have an offset committed after what was wished for the partition before; wait for nothing."""
        with self._lock:
            self._waiting.setdefault(partition, []).append(Wish(partition, offset, metadata, epoch))

    def take(self) -> list[Wish]:
        """Return what is to be sent now. To be called by the thread that ends epochs."""
        with self._lock:
            void = [wish for wishes in self._waiting.values() for wish in wishes if wish.is_void]
            for wish in void:
                self._waiting[wish.partition].remove(wish)
            ready = {
                number: wishes.pop(0)
                for number, wishes in self._waiting.items()
                if wishes and number not in self._sent
            }
            self._sent |= ready
        _let_go(void)
        return list(ready.values())

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
        with self._lock:
            dropped = [wish for number in partitions for wish in self._waiting.pop(number, [])]
            dropped += [self._sent[number] for number in partitions if number in self._sent]
        _let_go(dropped)

    def close(self) -> None:
        """Let go of everybody."""
        with self._lock:
            numbers = self._waiting.keys() | self._sent.keys()
        self.drop(numbers)


def _let_go(wishes: Iterable[Wish]) -> None:
    for wish in wishes:
        with suppress(InvalidStateError):
            wish.answer.set_exception(BrokerUnavailable("the partition was taken away"))


def _settle(wish: Wish, failure: KafkaError | None) -> None:
    # Somebody who has given up has an answer already.
    with suppress(InvalidStateError):
        if failure is None:
            wish.answer.set_result(None)
        elif failure.code() in _NOT_A_MEMBER:
            text = f"Kafka takes no commit of ours now: {failure.str()}"
            wish.answer.set_exception(BrokerUnavailable(text))
        else:
            wish.answer.set_exception(translate(failure, "committing an offset"))

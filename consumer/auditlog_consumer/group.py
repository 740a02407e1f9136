"""This process as a member of the consumer group: a thin edge around librdkafka's consumer.

The classic protocol with cooperative rebalancing: a partition that stays with its member goes on being
read while others move, and no member starts on a partition before the other one has let go of it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import methodcaller
from typing import Any, Final, cast

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from auditlog_consumer.commits import Commits
from auditlog_consumer.kafka_errors import made, translate
from auditlog_consumer.messages import KafkaMessage, Messages
from auditlog_consumer.settings import ConsumerSettings
from auditlog_schemas.errors import TransientError

REQUEST_SECONDS_MAX: Final = 10.0
FEW_MESSAGES: Final = 500
"""Taken from Kafka's client at a time: as many message objects as the processor's cache holds, until only
their columns are left of them."""
IDLE_SESSIONS: Final = 2.0
"""After so many sessions without a partition a member joins anew, and then after twice as many, and so on."""
IDLE_SECONDS_MAX: Final = 3600.0

_ERROR: Final = methodcaller("error")
_PARTITION: Final = methodcaller("partition")
_OUT_OF_RANGE: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})
_OTHER_TOPIC: Final = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError.INCONSISTENT_TOPIC_ID}
)


@dataclass(slots=True)
class Polled:
    """What one poll brought.

    Attributes:
        messages: by partition, in the order of their offsets.
        out_of_range: partitions whose position Kafka no longer has, or whose topic it knows no longer.
        ends: where a partition's log ended when its end was reached.
        trouble: errors that will pass, such as a broker that is away.
    """

    messages: dict[int, Messages] = field(default_factory=dict)
    out_of_range: set[int] = field(default_factory=set)
    ends: dict[int, int] = field(default_factory=dict)
    trouble: list[TransientError] = field(default_factory=list)


class GroupMember:
    """Reads the partitions that the group gives to this process. Partition numbers are of one topic.

    Nothing is fetched of a given partition until `start` says from where. `poll` must be called all the time,
    also while nothing is read, or the group takes the partitions away.
    """

    def __init__(self, settings: ConsumerSettings) -> None:
        self._topic = settings.topic
        self._reading: set[int] = set()
        self._lost = False
        self._given: set[int] = set()
        self._idle_seconds_max = IDLE_SESSIONS * settings.session_timeout_seconds
        self._given_seconds = time.monotonic()
        session_millis = int(settings.session_timeout_seconds * 1000)
        self._config: dict[str, Any] = {
            # Kafka tells it to whoever asks who has a partition, as `auditlog doctor` does.
            "client.id": f"auditlog.{socket.gethostname()}.{os.getpid()}",
            # It may not be shorter than a session; its default is five minutes.
            "max.poll.interval.ms": max(300_000, session_millis),
            **settings.kafka_config,
            "bootstrap.servers": settings.kafka,
            "group.id": settings.group,
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # The ledger says where to start; a position that Kafka lost must be an error, never a jump.
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "session.timeout.ms": session_millis,
            "fetch.wait.max.ms": 100,
            # What librdkafka holds ahead of us, of all partitions; when it is full it looks again soon.
            "queued.max.messages.kbytes": 32 * 1024,
            "fetch.queue.backoff.ms": 10,
            "log_level": 2,
        }
        self._open()
        # Asks for committed offsets, and is no member since it never subscribes. The member would never
        # answer while nothing of the topic is assigned; an AdminClient does not get over a broker's restart
        # (librdkafka #4605).
        self._observer = made(
            Consumer,
            {
                **settings.kafka_config,
                "bootstrap.servers": settings.kafka,
                "group.id": settings.group,
                "enable.auto.commit": False,
                "session.timeout.ms": session_millis,
                "log_level": 2,
            },
        )

    def join(
        self,
        on_assigned: Callable[[list[int]], None],
        on_revoked: Callable[[list[int]], None],
        on_lost: Callable[[list[int]], None],
    ) -> None:
        """Join the group. The callbacks run inside `poll`; when they return, the change has happened.

        Partitions that are revoked stay ours until the callback returns; those that are lost may belong to
        somebody else already.
        """

        self._callbacks = (on_assigned, on_revoked, on_lost)
        self._subscribe()

    def _open(self) -> None:
        # Answers to commits of an earlier client must not be taken for answers to those of this one.
        self._commits = Commits()
        self._consumer = made(Consumer, {**self._config, "on_commit": self._commits.answer})

    def _subscribe(self) -> None:
        on_assigned, on_revoked, on_lost = self._callbacks

        def assigned(consumer: Any, given: list[TopicPartition]) -> None:
            if consumer is not self._consumer or self._lost:
                return
            # Nothing is read before its start is known. A placeholder position would not do: librdkafka may
            # look it up, and the answer may come after `start` and move the position forward.
            consumer.incremental_assign([])
            for tp in given:
                self._commits.open(tp.partition)
            self._given |= {tp.partition for tp in given}
            on_assigned([tp.partition for tp in given])

        def taken(
            tell: Callable[[list[int]], None], lost: bool
        ) -> Callable[[Any, list[TopicPartition]], None]:
            def take(consumer: Any, partitions: list[TopicPartition]) -> None:
                if consumer is not self._consumer:
                    return
                self._lost |= lost
                self._given -= {tp.partition for tp in partitions}
                tell([tp.partition for tp in partitions])
                consumer.incremental_unassign([tp for tp in partitions if tp.partition in self._reading])
                self._reading -= {tp.partition for tp in partitions}

            return take

        self._consumer.subscribe(
            [self._topic],
            on_assign=assigned,
            on_revoke=taken(on_revoked, lost=False),
            on_lost=taken(on_lost, lost=True),
        )

    def poll(self, messages_max: int, seconds: float) -> Polled:
        """Return what arrives within `seconds`, sooner when there are `messages_max` messages.

        Raises:
            ConfigError, TerminalError: Kafka says something that waiting will not mend.
        """
        polled = Polled()
        if self._lost or self._is_idle_for_long():
            self._rejoin()
        try:
            if wanted := self._commits.take():
                positions = [TopicPartition(self._topic, *position) for position in wanted]
                self._consumer.commit(offsets=positions, asynchronous=True)
            parts: dict[int, list[Messages]] = {}
            for received in self._received(messages_max, seconds):
                self._sort(received, polled, parts)
        except KafkaException as error:
            raise translate(error.args[0], "polling") from error
        polled.messages.update((number, Messages.joined(found)) for number, found in parts.items())
        return polled

    def _received(self, messages_max: int, seconds: float) -> Iterator[list[Any]]:
        """Yield what Kafka's client has, a few messages at a time, and wait for the first of them only."""
        count = 0
        while count < messages_max:
            wanted = min(FEW_MESSAGES, messages_max - count)
            received = self._consumer.consume(wanted, 0 if count else seconds)
            yield received
            count += len(received)
            if len(received) < wanted:
                return

    def _sort(self, received: list[Any], polled: Polled, parts: dict[int, list[Messages]]) -> None:
        """Add messages to the columns of their partitions, and note the errors among them."""
        if any(map(_ERROR, received)):
            for message in received:
                if (failure := message.error()) is not None:
                    self._note(polled, failure, cast(int, message.partition()), message.offset() or 0)
            received = [message for message in received if message.error() is None]
        for number, run in groupby(received, _PARTITION):
            parts.setdefault(number, []).append(Messages.of(cast(list[KafkaMessage], list(run))))

    def _is_idle_for_long(self) -> bool:
        """Tell whether it is time to join anew since no partition came for long.

        There may be more members than partitions. But one whose client had dropped out of the group was seen
        to wait for ever, and nothing tells the two apart.
        """
        now = time.monotonic()
        if self._given:
            self._given_seconds = now
        elif now - self._given_seconds > self._idle_seconds_max:
            self._given_seconds = now
            self._idle_seconds_max = min(2 * self._idle_seconds_max, IDLE_SECONDS_MAX)
            return True
        return False

    def _rejoin(self) -> None:
        """Join as a new member, with a new client: one that lost its partitions was seen to wait for ever."""
        self._lost = False
        self._reading.clear()
        self._given.clear()
        self._commits.close()
        old = self._consumer
        self._open()
        self._subscribe()
        # Aside, since it may wait for a broker; by now its callbacks do nothing.
        threading.Thread(target=old.close, name="closing", daemon=True).start()

    def _note(self, polled: Polled, failure: KafkaError, partition: int, offset: int) -> None:
        if failure.code() in _OUT_OF_RANGE:
            polled.out_of_range.add(partition)
        elif failure.code() in _OTHER_TOPIC:
            # The topic is gone for now, or is another one by now: recovery finds out which.
            polled.out_of_range |= self._reading
        elif failure.code() == KafkaError._PARTITION_EOF:
            polled.ends[partition] = offset
        else:
            trouble = translate(failure, "polling")
            if not isinstance(trouble, TransientError):
                raise trouble
            polled.trouble.append(trouble)

    def start(self, partition: int, offset: int) -> None:
        """Read a given partition from `offset` on, whatever was read of it before."""
        # Not by seek, which fails while librdkafka has just lost the old position.
        self.stop(partition)
        self._consumer.incremental_assign([TopicPartition(self._topic, partition, offset)])
        self._commits.open(partition)
        self._reading.add(partition)
        # librdkafka remembers a pause beyond the assignment it was made in.
        self.resume([partition])

    def stop(self, partition: int) -> None:
        """Read a partition no longer, until the next `start`; it stays this member's."""
        if partition in self._reading:
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])
            self._reading.discard(partition)

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop fetching; messages fetched already may still come."""
        self._consumer.pause(self._named(partitions))

    def resume(self, partitions: Iterable[int]) -> None:
        """Fetch again."""
        self._consumer.resume(self._named(partitions))

    def announce(self, partition: int, next_offset: int, metadata: str) -> None:
        """Commit an offset with metadata; on return the group's coordinator has both.

        Waits for another thread to call `poll`, which sends it and gets the answer.

        Only a member of the group can: so this also proves that we still were one when Kafka answered.

        Raises:
            BrokerUnavailable: Kafka did not answer, or the group is changing or does without us; if that is
                so, `poll` will say it.
            ConfigError, TerminalError: Kafka refuses it for good.
        """
        self._commits.ask(partition, next_offset, metadata)

    def announced(self, partition: int) -> tuple[int, str] | None:
        """Return the committed offset of a partition and its metadata, or None when there is none.

        Raises:
            BrokerUnavailable, ConfigError, TerminalError: as in `announce`.
        """
        try:
            [found] = self._observer.committed(self._named([partition]), timeout=REQUEST_SECONDS_MAX)
        except KafkaException as error:
            raise translate(error.args[0], "reading the committed offset") from error
        if found.error is not None:
            raise translate(found.error, "reading the committed offset")
        return None if found.offset < 0 else (found.offset, found.metadata or "")

    def commit(self, partition: int, next_offset: int) -> None:
        """Have Kafka told, by a `poll` to come, how far we are and that nothing is announced any more.

        Nothing depends on it: the ledger is the truth, and an intent that lies before it is ignored.
        """
        self._commits.leave(partition, next_offset, "")

    def release(self, partitions: Iterable[int]) -> None:
        """Let go of threads that wait for a commit of these partitions: they get BrokerUnavailable."""
        self._commits.drop(partitions)

    def close(self) -> None:
        """Leave the group."""
        self._commits.close()
        self._consumer.close()
        # The observer is left alone: it is no member, and closing it would wait for whoever asks through it.

    def _named(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]

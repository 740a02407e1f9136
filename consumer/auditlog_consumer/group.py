"""This process as a member of the consumer group: librdkafka for the group, our own fetcher for messages.

The classic protocol with cooperative rebalancing: a partition that stays with its member goes on being
read while others move, and no member starts on a partition before the other one has let go of it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from auditlog_consumer.commits import Commits, Wish
from auditlog_consumer.fetch.fetcher import Fetcher
from auditlog_consumer.fetch.inbox import Polled
from auditlog_consumer.intent import Intent, with_trouble
from auditlog_consumer.kafka_errors import made, translate
from auditlog_consumer.partition import Epoch
from auditlog_consumer.settings import ConsumerSettings
from auditlog_schemas.errors import TransientError

REQUEST_SECONDS_MAX: Final = 10.0
ANSWERS_SECONDS: Final = 0.002
"""How long librdkafka is asked at once while commits are on their way: it has no way to wake us."""
IDLE_SESSIONS: Final = 2.0
"""After so many sessions without a partition a member joins anew, and then after twice as many, and so on."""
IDLE_SECONDS_MAX: Final = 3600.0


class GroupMember:
    """Reads the partitions that the group gives to this process. Partition numbers are of one topic.

    Nothing is fetched of a given partition until `start` says from where. `poll` must be called all the time,
    also while nothing is read, or the group takes the partitions away. librdkafka is the member, and never
    told to fetch: it decompresses whatever it is sent, however large that becomes (see `fetch.batches`).
    """

    def __init__(self, settings: ConsumerSettings) -> None:
        self._topic = settings.topic
        self._reading: set[int] = set()
        self._lost = False
        self._given: set[int] = set()
        # What the group's coordinator was last told, or said, of each partition.
        self._committed: dict[int, tuple[int, str]] = {}
        self._idle_seconds_max = IDLE_SESSIONS * settings.session_timeout_seconds
        self._given_seconds = time.monotonic()
        session_millis = int(settings.session_timeout_seconds * 1000)
        client_id = f"auditlog.{socket.gethostname()}.{os.getpid()}"
        self._fetcher = Fetcher(settings.kafka, settings.kafka_config, settings.topic, client_id)
        self._config: dict[str, Any] = {
            # Kafka tells it to whoever asks who has a partition, as `auditlog doctor` does.
            "client.id": client_id,
            # It may not be shorter than a session; its default is five minutes.
            "max.poll.interval.ms": max(300_000, session_millis),
            **settings.kafka_config,
            "bootstrap.servers": settings.kafka,
            "group.id": settings.group,
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "session.timeout.ms": session_millis,
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
        self._commits = Commits(self._fetcher.wake)
        self._consumer = made(Consumer, {**self._config, "on_commit": self._commits.answer})

    def _subscribe(self) -> None:
        on_assigned, on_revoked, on_lost = self._callbacks

        def assigned(consumer: Any, given: list[TopicPartition]) -> None:
            if consumer is not self._consumer or self._lost:
                return
            # Nothing, ever: the fetcher reads, once the start is known.
            consumer.incremental_assign([])
            for tp in given:
                self._committed.pop(tp.partition, None)
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
                consumer.incremental_unassign([])
                for tp in partitions:
                    self.stop(tp.partition)
                    self._committed.pop(tp.partition, None)

            return take

        self._consumer.subscribe(
            [self._topic],
            on_assign=assigned,
            on_revoke=taken(on_revoked, lost=False),
            on_lost=taken(on_lost, lost=True),
        )

    def poll(self, messages_max: int, seconds: float) -> Polled:
        """Return what arrives within `seconds`, at most `messages_max` messages, which may be none.

        Raises:
            ConfigError, TerminalError: Kafka says something that waiting will not mend.
        """
        if self._lost or self._is_idle_for_long():
            self._rejoin()
        trouble: list[TransientError] = []
        deadline = time.monotonic() + seconds
        try:
            self._serve(trouble)
            while not (trouble or self._fetcher.has_news):
                if (left := deadline - time.monotonic()) <= 0:
                    break
                if not self._commits.are_on_their_way:
                    self._fetcher.wait(left)
                self._serve(trouble)
        except KafkaException as error:
            raise translate(error.args[0], "polling") from error
        polled = self._fetcher.take(messages_max)
        polled.trouble += trouble
        if polled.topic_is_unknown:
            # A topic that is gone for now may be another one by now: recovery finds out which.
            polled.out_of_range |= self._reading
        return polled

    def _serve(self, trouble: list[TransientError]) -> None:
        """Send the commits that are wished for, and let librdkafka tell what is new of them and of the group.

        Raises:
            ConfigError, TerminalError: as in `poll`.
        """
        if wanted := self._commits.take():
            self._committed.update((wish.partition, (wish.offset, wish.metadata)) for wish in wanted)
            self._consumer.commit(offsets=[self._position(wish) for wish in wanted], asynchronous=True)
        said = self._consumer.poll(ANSWERS_SECONDS if self._commits.are_on_their_way else 0)
        if said is not None and (failure := said.error()) is not None:
            error = translate(failure, "polling")
            if not isinstance(error, TransientError):
                raise error
            trouble.append(error)

    def _position(self, wish: Wish) -> TopicPartition:
        epoch = self.leader_epoch(wish.partition, wish.offset)
        return TopicPartition(self._topic, wish.partition, wish.offset, wish.metadata, epoch)

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
        for partition in list(self._reading):
            self.stop(partition)
        self._given.clear()
        self._commits.close()
        old = self._consumer
        self._open()
        self._subscribe()
        # Aside, since it may wait for a broker; by now its callbacks do nothing.
        threading.Thread(target=old.close, name="closing", daemon=True).start()

    def start(self, partition: int, offset: int) -> None:
        """Read a given partition from `offset` on, whatever was read of it before."""
        self._fetcher.start(partition, offset)
        self._reading.add(partition)

    def stop(self, partition: int) -> None:
        """Read a partition no longer, until the next `start`; it stays this member's."""
        self._fetcher.stop(partition)
        self._reading.discard(partition)

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop fetching; messages fetched already may still come."""
        self._fetcher.pause(partitions)

    def resume(self, partitions: Iterable[int]) -> None:
        """Fetch again."""
        self._fetcher.pause(partitions, paused=False)

    def announce(self, epoch: Epoch, partition: int, next_offset: int, metadata: str) -> None:
        """Commit an offset with metadata; on return the group's coordinator has both.

        Waits for another thread to call `poll`, which sends it, unless the epoch has ended by then, and gets
        the answer.

        Only a member of the group can: so this also proves that we still were one when Kafka answered.

        Raises:
            EpochEnded: the epoch has ended, or begins nothing new.
            BrokerUnavailable: Kafka did not answer, or the group is changing or does without us; if that is
                so, `poll` will say it.
            ConfigError, TerminalError: Kafka refuses it for good.
        """
        self._commits.ask(epoch, partition, next_offset, metadata)

    def leader_epoch(self, partition: int, next_offset: int) -> int:
        """Return the epoch of the leader that appended what lies before an offset; -1 when not known."""
        return self._fetcher.epochs.before(partition, next_offset)

    def announced(self, partition: int) -> tuple[int, str] | None:
        """Return the committed offset of a partition and its metadata, or None when there is none.

        What it tells of leaders' epochs is kept, and goes with the first fetch after `start`.

        Raises:
            BrokerUnavailable, ConfigError, TerminalError: as in `announce`.
        """
        try:
            [found] = self._observer.committed(self._named([partition]), timeout=REQUEST_SECONDS_MAX)
        except KafkaException as error:
            raise translate(error.args[0], "reading the committed offset") from error
        if found.error is not None:
            raise translate(found.error, "reading the committed offset")
        offset, metadata = max(found.offset, 0), found.metadata or ""
        self._committed[partition] = (offset, metadata)
        epochs = {} if found.leader_epoch is None else {offset: found.leader_epoch}
        if (intent := Intent.from_metadata(metadata)) is not None:
            epochs[intent.last + 1] = intent.leader_epoch
        self._fetcher.epochs.note_committed(partition, epochs)
        return None if found.offset < 0 else (offset, metadata)

    def commit(self, epoch: Epoch, partition: int, next_offset: int) -> None:
        """Have Kafka told, by a `poll` to come, how far we are and that nothing is announced any more.

        Nothing depends on it: the ledger is the truth, and an intent that lies before it is ignored.
        """
        self._commits.leave(epoch, partition, next_offset, "")

    def tell(self, partition: int, trouble: str) -> None:
        """Have Kafka told, by a `poll` to come, why a partition is stopped: `auditlog doctor` shows it.

        It goes beside what was announced last, which stays as it is. Call it only from the thread that polls,
        once no other thread can announce anything for the partition any more.
        """
        if (last := self._committed.get(partition)) is not None:
            offset, metadata = last
            self._commits.leave(None, partition, offset, with_trouble(metadata, trouble))

    def release(self, partitions: Iterable[int]) -> None:
        """Let go of threads that wait for a commit of these partitions: they get BrokerUnavailable."""
        self._commits.drop(partitions)

    def close(self) -> None:
        """Leave the group."""
        self._fetcher.close()
        self._commits.close()
        self._consumer.close()
        # The observer is left alone: it is no member, and closing it would wait for whoever asks through it.

    def _named(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]

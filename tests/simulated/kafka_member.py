"""A member of the group, over the model: the same methods as the real class."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Final, cast

from confluent_kafka import KafkaError, TopicPartition

from auditlog_consumer.commits import Commits, Wish
from auditlog_consumer.fetch.inbox import Polled
from auditlog_consumer.intent import with_trouble
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Epoch
from auditlog_schemas.errors import BrokerUnavailable, TransientError
from simulated.kafka_model import KafkaModel, LogMessage, Member
from simulated.kernel import Process
from simulated.network import Answer, Network

IDLE_SECONDS: Final = 3.0
BUSY_SECONDS: Final = 0.25

_TIMED_OUT: Final = KafkaError(KafkaError._TIMED_OUT)

Told = Callable[[list[int]], None]


class SimGroupMember:
    """Stands for `auditlog_consumer.group.GroupMember`.

    An idle poll takes longer than it is asked to: many empty ones in a row would find the same.
    """

    def __init__(self, kafka: KafkaModel, network: Network, process: Process) -> None:
        self._kafka = kafka
        self._network = network
        self._process = process
        self._member: Member | None = None
        self._told: tuple[Told, Told, Told] | None = None
        self._positions: dict[int, int] = {}
        self._paused: set[int] = set()
        self._end_told: dict[int, int] = {}
        self._seen_done = 0
        self._last_message_at = float("-inf")
        self._commits = Commits(self._wish, self._wait)
        self._is_wished = False
        self._commits_sent = 0
        self._committed: dict[int, tuple[int, str]] = {}
        self._left_out: set[tuple[int, int]] = set()

    def join(self, on_assigned: Told, on_revoked: Told, on_lost: Told) -> None:
        """Join the group; the callbacks run inside `poll`."""
        self._told = (on_assigned, on_revoked, on_lost)
        self._member = self._kafka.join(self._process)

    def poll(self, messages_max: int, seconds: float) -> Polled:
        """Wait for messages or for news of the group, and return what came."""
        self._network.step(self._process, "poll")
        kernel = self._process.kernel
        busy = kernel.now - self._last_message_at < 1.5
        self._process.wait(self._has_news, max(seconds, BUSY_SECONDS if busy else IDLE_SECONDS))
        self._seen_done = self._process.done_count
        self._send_wishes()
        polled = Polled()
        if not self._kafka.up or self._network.is_cut(self._process):
            polled.trouble.append(cast(TransientError, BrokerUnavailable("Kafka does not answer")))
            return polled
        self._hear_of_group()
        for partition in sorted(self._positions.keys() - self._paused):
            self._fetch(partition, messages_max, polled)
        return polled

    def start(self, partition: int, offset: int) -> None:
        """Read a partition from an offset on."""
        self._process.require_alive()
        self._positions[partition] = offset
        self._end_told.pop(partition, None)
        self._paused.discard(partition)

    def stop(self, partition: int) -> None:
        """Read a partition no longer."""
        self._positions.pop(partition, None)

    def pause(self, partitions: Iterable[int]) -> None:
        """Stop fetching."""
        self._paused |= set(partitions)

    def resume(self, partitions: Iterable[int]) -> None:
        """Fetch again."""
        self._paused -= set(partitions)

    def announce(self, epoch: Epoch, partition: int, next_offset: int, metadata: str) -> None:
        """Commit an offset with metadata: leave a wish for the polling thread, and wait for its answer."""
        self._network.step(self._process, f"announce {partition}/{next_offset} {_short(metadata)}")
        self._commits.ask(epoch, partition, next_offset, metadata)

    def leader_epoch(self, partition: int, next_offset: int) -> int:  # noqa: ARG002
        """Return -1: no log is cut here."""
        return -1

    def _wish(self) -> None:
        self._is_wished = True
        self._process.notify()

    def _wait(self, answer: Future[None], seconds: float) -> None:
        if not self._process.wait(answer.done, seconds):
            raise TimeoutError
        answer.result()

    def announced(self, partition: int) -> tuple[int, str] | None:
        """Return the committed offset and its metadata."""

        def serve(answer: Answer) -> None:
            answer(self._kafka.committed.get(partition))

        what = f"ask what was announced of {partition}"
        found = cast("tuple[int, str] | None", self._network.request(self._process, self._kafka, what, serve))
        self._committed[partition] = found or (0, "")
        return found

    def commit(self, epoch: Epoch, partition: int, next_offset: int) -> None:
        """Have an offset committed without metadata, by a poll to come."""
        self._network.step(self._process, f"commit {partition}/{next_offset}")
        self._commits.leave(epoch, partition, next_offset, "")
        self._wish()

    def tell(self, partition: int, trouble: str) -> None:
        """Have it told beside what was announced last why a partition is stopped."""
        self._network.step(self._process, f"tell of {partition}")
        if (last := self._committed.get(partition)) is not None:
            self._commits.leave(None, partition, last[0], with_trouble(last[1], trouble))
            self._wish()

    def close(self) -> None:
        """Leave the group."""
        self._network.step(self._process, "leave the group")
        if self._member is not None and self._kafka.up and not self._network.is_cut(self._process):
            self._kafka.remove(self._member, "leaves")

    def release(self, partitions: Iterable[int]) -> None:
        """Let go of those who wait for a commit of these partitions; it may be made all the same."""
        self._commits.drop(partitions)
        self._process.notify()

    def _send_wishes(self) -> None:
        """Send the commits that threads wait for, one at a time for each partition."""
        self._is_wished = False
        for wish in self._commits.take():
            self._committed[wish.partition] = (wish.offset, wish.metadata)
            self._send(wish)
        self._process.notify()

    def _send(self, wish: Wish) -> None:
        member = self._member
        assert member is not None, "a commit before `join`"
        if wish.epoch is not None and not wish.epoch.alive:
            self._kafka.faults.append(f"a commit of partition {wish.partition} in the name of a dead epoch")
        self._commits_sent += 1
        number, at = self._commits_sent, TopicPartition("", wish.partition)

        def serve(answer: Answer) -> None:
            taken = self._kafka.take_commit(member, wish.partition, wish.offset, wish.metadata, number)
            answer(None if taken else KafkaError(KafkaError.UNKNOWN_MEMBER_ID))

        def deliver(result: KafkaError | BrokerUnavailable | None) -> None:
            self._commits.answer(_TIMED_OUT if isinstance(result, BrokerUnavailable) else result, [at])
            self._process.done_count += 1
            self._process.notify()

        what = f"commit {wish.partition}/{wish.offset} {_short(wish.metadata)}"
        self._network.send(self._process, self._kafka, what, serve, deliver)

    def _has_news(self) -> bool:
        member = self._member
        if self._process.done_count != self._seen_done:
            return True
        if self._is_wished:
            return True
        if not self._kafka.up or self._network.is_cut(self._process):
            return False
        if member is None or not member.alive:
            return True
        if member.to_assign or member.to_revoke:
            return True
        return any(
            position != self._kafka.logs[partition].high or partition not in self._end_told
            for partition, position in self._positions.items()
            if partition not in self._paused
        )

    def _hear_of_group(self) -> None:
        member = self._member
        assert member is not None, "a poll before `join`"
        assert self._told is not None
        on_assigned, on_revoked, on_lost = self._told
        if not member.alive:
            self._let_go(on_lost, set(member.given - member.to_assign))
            self._member = self._kafka.join(self._process)
        elif member.to_revoke:
            taken = set(member.to_revoke)
            self._let_go(on_revoked, taken - member.to_assign)
            member.to_assign -= taken
            self._kafka.release(member, taken)
        elif member.to_assign:
            given, member.to_assign = sorted(member.to_assign), set()
            for partition in given:
                self._committed.pop(partition, None)
            on_assigned(given)

    def _let_go(self, tell: Told, partitions: set[int]) -> None:
        if partitions:
            tell(sorted(partitions))
        for partition in partitions:
            self._positions.pop(partition, None)
            self._committed.pop(partition, None)

    def _fetch(self, partition: int, messages_max: int, polled: Polled) -> None:
        log, position = self._kafka.logs[partition], self._positions[partition]
        if not log.low <= position <= log.high:
            polled.out_of_range.add(partition)
            return
        draw = self._process.kernel.random
        found = log.between(position, min(messages_max, draw.choice((1, 3, 10, 100))))
        if found:
            self._positions[partition] = found[-1].at + 1
            self._last_message_at = self._process.kernel.now
            if delivered := self._without_some(partition, found):
                polled.messages[partition] = _by_column(delivered, position)
        if not log.between(self._positions[partition], 1):
            self._positions[partition] = log.high
            if self._end_told.get(partition) != log.high:
                self._end_told[partition] = log.high
                polled.ends[partition] = log.high

    def _without_some(self, partition: int, found: list[LogMessage]) -> list[LogMessage]:
        """Leave one out, rarely, as a client with a bug would; but none of them twice."""
        draw, skipped = self._process.kernel.random, self._network.weather.skipped
        if not skipped or len(found) < 2 or draw.random() >= skipped:
            return found
        place = draw.randrange(len(found))
        if (partition, found[place].at) in self._left_out:
            return found
        self._left_out.add((partition, found[place].at))
        return found[:place] + found[place + 1 :]


def _by_column(delivered: list[LogMessage], position: int) -> Messages:
    """Return messages as the fetcher does: a batch that was passed over takes the place of one."""
    parts = [
        Messages.of([each]) if each.passed is None else Messages.passing(each.passed.since(position))
        for each in delivered
    ]
    return Messages.joined(parts)


def _short(metadata: str) -> str:
    return metadata.partition('"first"')[2]

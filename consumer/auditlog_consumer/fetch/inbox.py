"""What is read of which partitions, and the messages that have come and wait to be taken."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from auditlog_consumer.fetch.batches import RecordBatch
from auditlog_consumer.fetch.leader_epochs import LeaderEpochs
from auditlog_consumer.messages import Messages
from auditlog_schemas.errors import AuditError, TransientError

QUEUED_BYTES_MAX: Final = 32 << 20
"""Messages that wait to be taken, of all partitions, about; one slice of a batch may come on top."""
TROUBLE_MAX: Final = 10
"""So many errors that will pass are kept; the latest ones say most."""


@dataclass(slots=True)
class Polled:
    """What has come since the last time.

    Attributes:
        messages: by partition, in the order of their offsets.
        ends: where a partition's log ended when its end was reached.
        held: partitions that were read up to a transaction that is open, and the first offset of it; None
            for one that was and is not any more.
        out_of_range: partitions whose position Kafka does not have.
        topic_is_unknown: Kafka does not know the topic.
        failures: partitions that cannot be read on, and why.
        trouble: errors that will pass, such as a broker that is away.
    """

    messages: dict[int, Messages] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    held: dict[int, int | None] = field(default_factory=dict)
    out_of_range: set[int] = field(default_factory=set)
    topic_is_unknown: bool = False
    failures: dict[int, AuditError] = field(default_factory=dict)
    trouble: list[TransientError] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Position:
    """Where a partition is read; another object for each `start`, so that older answers are known.

    Attributes:
        offset: the next one that is wanted. All before it are in the queue, or were taken.
        epoch: of the leader that appended what was read last; -1 when that is not known.
        paused: nothing more of it is asked for.
        stands: nothing more can be read of it.
        end_told: the end of the log that was told last.
        held_told: what was told last of a transaction that is open; -1 when nothing was.
    """

    offset: int
    epoch: int = -1
    paused: bool = False
    stands: bool = False
    end_told: int = -1
    held_told: int | None = -1


class Inbox:
    """Where messages are put by threads that fetch, and taken by the one that polls. Thread-safe.

    Attributes:
        epochs: of the leaders that appended what was read.
    """

    def __init__(self) -> None:
        self.epochs = LeaderEpochs()
        self._changed = threading.Condition()
        self._positions: dict[int, Position] = {}
        self._queue: deque[tuple[int, Messages]] = deque()
        self._queued_bytes = 0
        self._told = Polled()
        self._fatal: Exception | None = None
        self._closed = self._woken = False

    def start(self, partition: int, offset: int) -> None:
        """Read a partition from an offset on, whatever was read of it before."""
        with self._changed:
            self._forget(partition)
            self._positions[partition] = Position(offset, self.epochs.before(partition, offset))
            self.epochs.note_start(partition, offset)
            self._changed.notify_all()

    def stop(self, partition: int) -> None:
        """Read a partition no longer; nothing more comes of it until the next `start`."""
        with self._changed:
            self._forget(partition)
            self._changed.notify_all()

    def pause(self, partitions: Iterable[int], *, paused: bool = True) -> None:
        """Ask for no more of these partitions, or for more again; what has come already is still taken."""
        with self._changed:
            for partition in partitions:
                if (position := self._positions.get(partition)) is not None:
                    position.paused = paused
            self._changed.notify_all()

    def take(self, messages_max: int) -> Polled:
        """Return what has come since the last time, at most so many messages.

        Raises:
            ConfigError: a broker refuses us for good.
            TerminalError: a thread that fetches has ended, which is a bug.
        """
        with self._changed:
            if self._fatal is not None:
                raise self._fatal
            polled, self._told = self._told, Polled()
            parts: dict[int, list[Messages]] = {}
            left = messages_max
            while self._queue and left > 0:
                number, messages = self._queue.popleft()
                self._queued_bytes -= messages.held_bytes
                if len(messages) > left:
                    rest = messages.between(left, len(messages))
                    self._queue.appendleft((number, rest))
                    self._queued_bytes += rest.held_bytes
                    messages = messages.between(0, left)
                left -= len(messages)
                parts.setdefault(number, []).append(messages)
            waiting = {number for number, _ in self._queue}
            # An end is told behind the messages before it.
            self._told.ends = {number: polled.ends.pop(number) for number in waiting & polled.ends.keys()}
            self._changed.notify_all()
        polled.messages = {number: Messages.joined(some) for number, some in parts.items()}
        return polled

    def wait(self, seconds: float) -> None:
        """Return when something is there to be taken, or somebody called `wake`, or after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self.has_news, seconds)
            self._woken = False

    def wake(self) -> None:
        """Let `wait` return."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop reading; the threads end by themselves."""
        with self._changed:
            self._closed = True
            for partition in list(self._positions):
                self._forget(partition)
            self._changed.notify_all()

    @property
    def has_news(self) -> bool:
        """Tell whether `take` has something to return."""
        told = self._told
        return bool(
            self._queue
            or told.ends
            or told.out_of_range
            or told.topic_is_unknown
            or told.failures
            or told.trouble
            or self._fatal
        )

    def _forget(self, partition: int) -> None:
        self._positions.pop(partition, None)
        self._queue = deque(each for each in self._queue if each[0] != partition)
        self._queued_bytes = sum(messages.held_bytes for _, messages in self._queue)
        self._told.ends.pop(partition, None)
        self._told.held.pop(partition, None)
        self._told.out_of_range.discard(partition)
        self._told.failures.pop(partition, None)

    # For the threads that fetch. Two may read a partition for a moment, when its leader changes: what comes
    # counts only if it begins where the partition stands.

    def _is_at(self, number: int, position: Position, offset: int) -> bool:
        return self._positions.get(number) is position and position.offset == offset

    def _note_epochs(
        self, number: int, position: Position, offset: int, batches: Iterable[RecordBatch]
    ) -> None:
        """Note which leaders appended these batches, before anybody can take messages of them."""
        with self._changed:
            if self._is_at(number, position, offset):
                read = [(each.first_offset, each.last_offset, each.leader_epoch) for each in batches]
                self.epochs.note_read(number, read)

    def _put(self, number: int, position: Position, offset: int, messages: Messages) -> bool:
        """Queue the messages from an offset on once there is room; False when they are not wanted."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._queued_bytes < QUEUED_BYTES_MAX or not self._is_at(number, position, offset)
            )
            if not self._is_at(number, position, offset):
                return False
            position.offset = int(messages.offsets[-1]) + 1
            # Known again when all of the answer is here.
            position.epoch = -1
            self._queue.append((number, messages))
            self._queued_bytes += messages.held_bytes
            self._changed.notify_all()
            return True

    def _reach(
        self,
        number: int,
        position: Position,
        offset: int,
        last: tuple[int, int] | None,
        stable_end: int,
        end: int,
    ) -> None:
        """Go on behind the last batch, given as (offset, epoch); tell the log's end when it is reached.

        What lies between both ends belongs to transactions that are open, or behind them.
        """
        with self._changed:
            if not self._is_at(number, position, offset):
                return
            if last is not None:
                position.offset, position.epoch = max(offset, last[0] + 1), last[1]
            is_at_end = position.offset >= stable_end
            if is_at_end and position.end_told != position.offset:
                position.end_told = position.offset
                self._told.ends[number] = position.offset
                self._changed.notify_all()
            held = stable_end if is_at_end and stable_end < end else None
            if held != position.held_told:
                position.held_told = self._told.held[number] = held

    def _stand(self, number: int, position: Position, error: AuditError | None = None) -> None:
        """Read a partition no further: for an error, or because Kafka does not have its offset."""
        with self._changed:
            if self._positions.get(number) is not position:
                return
            position.stands = True
            if error is None:
                self._told.out_of_range.add(number)
            else:
                self._told.failures[number] = error
            self._changed.notify_all()

    def _tell_trouble(self, error: TransientError) -> None:
        with self._changed:
            self._told.trouble.append(error)
            del self._told.trouble[:-TROUBLE_MAX]
            self._changed.notify_all()

    def _end_with(self, error: Exception) -> None:
        """Have `take` raise an error."""
        with self._changed:
            self._fatal = error
            self._changed.notify_all()

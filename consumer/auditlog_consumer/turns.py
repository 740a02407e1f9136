"""Taking turns: which partitions are read while more waits in Kafka than fits into memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from auditlog_consumer.assignment import Assigned
from auditlog_consumer.batch import Collector

ROOM_AGAIN: Final = 0.9
"""Messages are taken again when less than this part of the memory is in use."""
CROWDED_SECONDS_MAX: Final = 3.0
"""A turn goes on so long without room: a pause throws away what was fetched and takes a second to end."""


@dataclass(frozen=True, slots=True)
class _Turn:
    began_seconds: float
    next_offset: int


class Turns:
    """Lets partitions that are near their end be read all the time, and those with a backlog by turns.

    The engine's cost is mostly by batch, and memory for messages is limited: a few partitions that are read
    until their batch is full make larger batches than all of them at once. A turn ends with the batch, at
    the end of the partition, or after a time in which nothing came, whatever is first. Those with a backlog
    wait in a queue, so all of them are read. One whose batch waits for the schema registry has no turn: its
    next batch cannot be taken, so its turn might never end.

    Attributes:
        crowded: the memory is in use: nothing more should be taken from Kafka's client.

    Args:
        bytes_max: memory for messages that are not stored yet, of all partitions together.
        turns_max: how many partitions with a backlog are read at once.
        seconds_max: after which a turn ends in which nothing comes.
    """

    def __init__(self, bytes_max: int, turns_max: int, seconds_max: float) -> None:
        self._bytes_max = bytes_max
        self._turns_max = turns_max
        self._seconds_max = seconds_max
        self._turns: dict[int, _Turn] = {}
        self._queue: list[int] = []
        self.crowded = False
        self._crowded_seconds = 0.0

    def holds(self, partition: int) -> bool:
        """Tell whether it is this partition's turn."""
        return partition in self._turns

    def choose(self, assigned: Mapping[int, Assigned], now_seconds: float) -> set[int]:
        """Return the partitions to be read from now on; `now_seconds` is any monotonic clock.

        Args:
            assigned: partitions by number; those that have no collector yet count for nothing.
        """
        started = {number: one.collector for number, one in assigned.items() if one.collector is not None}
        self._notice_room(sum(one.held_bytes for one in assigned.values()), now_seconds)
        small_bytes = self._bytes_max // (2 * max(len(started), 1))
        behind = {number: one for number, one in started.items() if one.is_behind(now_seconds, small_bytes)}
        able = {number: assigned[number] for number in behind if not assigned[number].waits_for_schema}
        self._end_turns(able, now_seconds)
        self._give_turns({number: behind[number] for number in able}, now_seconds)
        crowded_long = self.crowded and now_seconds - self._crowded_seconds > CROWDED_SECONDS_MAX
        reading = {number for number in self._turns if not crowded_long or behind[number].is_replaying}
        return reading | (started.keys() - behind.keys())

    def _notice_room(self, held_bytes: int, now_seconds: float) -> None:
        crowded = held_bytes >= self._bytes_max * (ROOM_AGAIN if self.crowded else 1)
        if crowded and not self.crowded:
            self._crowded_seconds = now_seconds
        self.crowded = crowded

    def _end_turns(self, able: Mapping[int, Assigned], now_seconds: float) -> None:
        for number, turn in list(self._turns.items()):
            assigned = able.get(number)
            if assigned is None or _is_over(turn, assigned, now_seconds - self._seconds_max):
                del self._turns[number]

    def _give_turns(self, behind: Mapping[int, Collector], now_seconds: float) -> None:
        # A dict keeps the order in which partitions fell behind; those whose turn is over go to its end.
        able = {number for number, one in behind.items() if one.is_replaying or not one.is_full}
        waiting = [number for number in dict.fromkeys((*self._queue, *behind)) if number in able]
        self._queue = [number for number in waiting if number not in self._turns]
        while self._queue and len(self._turns) < self._turns_max:
            number = self._queue.pop(0)
            self._turns[number] = _Turn(now_seconds, behind[number].next_offset)


def _is_over(turn: _Turn, assigned: Assigned, began_before_seconds: float) -> bool:
    """Tell whether the turn's batch is full or taken, or in a turn that began long ago nothing comes.

    At the end of its partition a batch is taken soon, unless the one before it is held up by something.
    """
    collector = assigned.collector
    if collector is None or collector.next_offset != turn.next_offset:
        return True
    if collector.is_full and not collector.is_replaying:
        return True
    nothing_comes = not collector.offsets or (assigned.judging is not None and collector.at_end)
    return nothing_comes and turn.began_seconds < began_before_seconds

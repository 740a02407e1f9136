"""Turns: who is near the end is always read, a backlog by turns, each at some time, within the memory."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from auditlog_consumer.assignment import Assigned, Judging
from auditlog_consumer.batch import Batch, BatchLimits, Collector
from auditlog_consumer.judge import Judged
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Epoch, Partition
from auditlog_consumer.runtime import Threads
from auditlog_consumer.turns import CROWDED_SECONDS_MAX, Turns
from auditlog_schemas.schema_ids import Answer
from kit.kafka_message import FakeMessage

BYTES_MAX = 1_000_000
BODY = b"x" * 1_000
LIMITS = BatchLimits(rows_max=100, bytes_max=BYTES_MAX, age_seconds_max=1.0, backlog_age_seconds_max=4.0)


@dataclass
class Stage:
    """Some assigned partitions and the turns; `now` is the clock."""

    count: int
    bytes_max: int = BYTES_MAX
    turns_max: int = 2
    now: float = 100.0
    replay_last: int | None = None
    assigned: dict[int, Assigned] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.turns = Turns(self.bytes_max, self.turns_max, 1.0)
        for number in range(self.count):
            partition = Partition("audit.events", UUID(int=1), number)
            collector = Collector(partition, 0, LIMITS, self.replay_last)
            self.assigned[number] = Assigned(partition, Epoch(Threads().flag()), collector=collector)

    def collector(self, number: int) -> Collector:
        return cast(Collector, self.assigned[number].collector)

    def bring(self, number: int, count: int) -> None:
        collector = self.collector(number)
        first = collector.next_offset + collector.offsets
        collector.add(Messages.of([FakeMessage(first + place, BODY) for place in range(count)]), self.now)

    def reach_end(self, number: int) -> None:
        collector = self.collector(number)
        collector.reach(collector.next_offset + collector.offsets, self.now)

    def take(self, number: int) -> Batch:
        return self.collector(number).take(self.now)

    def choose(self) -> set[int]:
        return self.turns.choose(self.assigned, self.now)


def test_partitions_at_their_end_are_always_read() -> None:
    stage = Stage(5)
    for number in range(5):
        stage.reach_end(number)
    assert stage.choose() == {0, 1, 2, 3, 4}
    assert not any(stage.turns.holds(number) for number in range(5))


def test_backlogs_are_read_two_at_a_time_until_their_batch_is_taken() -> None:
    stage = Stage(5)
    seen = []
    for _ in range(5):
        chosen = stage.choose()
        seen.append(sorted(chosen))
        assert all(stage.turns.holds(number) for number in chosen)
        for number in chosen:
            stage.bring(number, 60)
        assert stage.choose() == chosen, "the turn goes on until the batch is full"
        for number in chosen:
            stage.bring(number, 40)
            stage.take(number)
    assert seen == [[0, 1], [2, 3], [0, 4], [1, 2], [0, 3]]


def test_a_full_batch_that_nobody_takes_gives_its_turn_away_and_gets_none() -> None:
    """Its partition may be held up by something else, and the others must not wait for that."""
    stage = Stage(3)
    assert stage.choose() == {0, 1}
    for number in (0, 1):
        stage.bring(number, 100)
    assert stage.choose() == {2}
    stage.take(0)
    assert stage.choose() == {0, 2}


def judging(schemas: Future[dict[int, Answer]] | None = None) -> Judging:
    """Return a batch on its way, of which nothing is to be stored yet."""
    return Judging(None, Future[Judged](), lookup=schemas)


def test_a_partition_that_waits_for_a_schema_has_no_turn() -> None:
    """Its next batch is not taken meanwhile, so its turn would not end and the others would wait with it."""
    stage = Stage(3)
    assert stage.choose() == {0, 1}
    stage.bring(0, 60)
    stage.assigned[0].judging = judging(Future())
    assert stage.choose() == {1, 2}
    stage.bring(1, 100)
    stage.take(1)
    stage.assigned[0].judging = None
    assert stage.choose() == {0, 2}


def test_a_turn_ends_at_the_end_of_a_partition_whose_batch_before_is_held_up() -> None:
    stage = Stage(3, bytes_max=500_000)
    assert stage.choose() == {0, 1}
    stage.bring(0, 90)
    stage.reach_end(0)
    stage.assigned[0].judging = judging()
    assert stage.choose() == {0, 1}
    stage.now += 1.1
    stage.bring(1, 1)
    assert stage.choose() == {1, 2}


def test_a_partition_that_reaches_its_end_gives_its_turn_away_and_is_still_read() -> None:
    stage = Stage(3)
    assert stage.choose() == {0, 1}
    stage.bring(0, 3)
    stage.reach_end(0)
    assert stage.choose() == {0, 1, 2}
    assert not stage.turns.holds(0)


def test_a_turn_in_which_nothing_comes_ends() -> None:
    stage = Stage(3)
    assert stage.choose() == {0, 1}
    stage.bring(1, 1)
    stage.now += 1.1
    assert stage.choose() == {1, 2}
    stage.now += 0.5
    stage.bring(2, 1)
    assert stage.choose() == {1, 2}


def test_a_partition_without_a_collector_counts_for_nothing() -> None:
    stage = Stage(2)
    stage.assigned[0].collector = None
    assert stage.choose() == {1}
    assert stage.turns.choose({}, stage.now) == set()


def test_a_partition_that_was_taken_away_loses_its_turn() -> None:
    stage = Stage(3)
    assert stage.choose() == {0, 1}
    del stage.assigned[0]
    assert stage.choose() == {1, 2}


def test_memory_in_use_stops_the_backlogs_after_a_while() -> None:
    stage = Stage(2, bytes_max=10_000)
    assert stage.choose() == {0, 1}
    assert not stage.turns.crowded
    stage.bring(0, 9)
    assert stage.choose() == {0, 1}
    assert stage.turns.crowded
    stage.now += CROWDED_SECONDS_MAX
    assert stage.choose() == {0, 1}, "a pause costs more than a short wait"
    stage.now += 0.1
    stage.bring(1, 1)
    assert stage.choose() == set()
    stage.take(0)
    assert 1 in stage.choose()
    assert not stage.turns.crowded


def test_there_is_room_again_only_when_enough_is_free() -> None:
    stage = Stage(1, bytes_max=11_000)
    stage.bring(0, 10)
    stage.choose()
    assert stage.turns.crowded
    held = stage.collector(0).held_bytes
    for part, crowded in ((0.95, True), (0.91, True), (0.89, False), (0.95, False)):
        stage.turns._bytes_max = int(held / part)
        stage.choose()
        assert stage.turns.crowded is crowded


def test_a_replay_goes_on_without_room() -> None:
    """It ends at its announced offset, however much that is; waiting would be for ever."""
    stage = Stage(1, bytes_max=10_000, replay_last=50)
    stage.bring(0, 20)
    for _ in range(3):
        assert stage.choose() == {0}
        stage.now += CROWDED_SECONDS_MAX
    assert stage.turns.crowded


EVENTS = st.sampled_from(["batch", "batch", "part", "end", "nothing"])


@given(st.lists(st.lists(EVENTS, min_size=6, max_size=6), max_size=8), st.integers(1, 6), st.integers(1, 3))
def test_every_backlog_is_read_at_some_time(rounds: list[list[str]], count: int, turns_max: int) -> None:
    stage, read = Stage(count, turns_max=turns_max), set[int]()
    small_bytes = BYTES_MAX // (2 * count)
    for events in rounds + [["batch"] * 6] * 4 * count:
        near = {
            number for number in range(count) if not stage.collector(number).is_behind(stage.now, small_bytes)
        }
        chosen = stage.choose()
        holding = {number for number in range(count) if stage.turns.holds(number)}
        assert chosen == near | holding
        assert len(holding) == min(turns_max, count - len(near))
        for number in chosen:
            if events[number] == "end":
                stage.reach_end(number)
            elif events[number] != "nothing":
                stage.bring(number, 100 if events[number] == "batch" else 5)
                read.add(number)
            if events[number] == "batch":
                stage.take(number)
        stage.now += 0.3
    assert read == set(range(count))

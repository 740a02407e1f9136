"""Collecting: batches are cut by rows, bytes and age, and stand for every offset in between."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog_consumer import batch as batch_module
from auditlog_consumer.batch import BatchLimits, Collector
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition
from auditlog_storage.tables import OFFSET_MAX
from kit.kafka_message import FakeMessage

PARTITION = Partition("audit.events", UUID(int=1), 3)


@pytest.fixture(autouse=True)
def _without_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "SPREAD_MIN", 1.0)


def collector(rows: int = 10, size: int = 1_000, age: float = 1.0, start: int = 0) -> Collector:
    return Collector(PARTITION, start, BatchLimits(rows, size, age, 4 * age))


def read_all(c: Collector, log: list[FakeMessage]) -> int:
    """Give a collector a log, from where it asks for again and again; return how often it asked."""
    asked, again = 0, c.add(Messages.of(log), 0)
    while again is not None:
        asked += 1
        again = c.add(Messages.of([message for message in log if message.at >= again]), 0)
    return asked


def test_nothing_collected_is_never_ready() -> None:
    assert not collector(age=0.1).ready(1e9)


def test_ready_by_rows() -> None:
    c = collector(rows=2)
    c.add(Messages.of([FakeMessage(0)]), 0)
    assert not c.ready(0)
    c.add(Messages.of([FakeMessage(1)]), 0)
    assert c.ready(0)


def test_ready_by_bytes() -> None:
    c = collector(size=10)
    c.add(Messages.of([FakeMessage(0, b"x" * 9)]), 0)
    assert not c.ready(0)
    c.add(Messages.of([FakeMessage(1, b"x")]), 0)
    assert c.ready(0)


def test_ready_by_age_of_the_oldest() -> None:
    c = collector(rows=100, age=1.0)
    c.add(Messages.of([FakeMessage(0)]), 5.0)
    c.add(Messages.of([FakeMessage(1)]), 5.9)
    c.reach(2, 5.9)
    assert not c.ready(5.99)
    assert c.ready(6.0)


def test_a_backlog_is_ready_later() -> None:
    c = collector(rows=100, age=1.0)
    c.add(Messages.of([FakeMessage(0), FakeMessage(1)]), 0.0)
    assert not c.ready(3.9)
    assert c.ready(4.0)
    c.reach(2, 1.0)
    assert c.ready(1.0)
    c.add(Messages.of([FakeMessage(2)]), 1.0)
    assert not c.ready(1.0), "there is more than when the end was reached"


def test_a_batch_that_waits_for_its_turn_has_no_age() -> None:
    c = collector(rows=2, age=1.0)
    c.add(Messages.of([FakeMessage(0)]), 0.0)
    assert not c.ready(100.0, waits=True)
    assert c.ready(100.0)
    c.add(Messages.of([FakeMessage(1)]), 0.0)
    assert c.ready(0.0, waits=True), "it is full"


def test_at_the_end_a_large_part_is_enough() -> None:
    c = collector(rows=40, age=1.0)
    c.add(Messages.of([FakeMessage(at) for at in range(5)]), 0.0)
    assert not c.ready(0.0)
    c.reach(5, 0.0)
    assert c.ready(0.0)


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 100])
def test_nothing_collected_at_the_end_is_never_ready(rows: int) -> None:
    c = collector(rows=rows, start=5)
    c.reach(5, 0.0)
    assert not c.ready(1e9)


def test_a_batch_stands_for_every_offset_from_its_first() -> None:
    c = collector(start=10)
    read_all(c, [FakeMessage(12), FakeMessage(13), FakeMessage(17)])
    batch = c.take(0)
    assert (batch.first_offset, batch.last_offset, batch.absent) == (10, 17, 5)
    assert c.next_offset == 18
    assert c.offsets == 0
    assert c.value_bytes == 0


def test_messages_from_before_the_start_are_passed_over() -> None:
    c = collector(start=5)
    c.add(Messages.of([FakeMessage(3), FakeMessage(4), FakeMessage(5)]), 0)
    assert c.take(0).messages.offsets.tolist() == [5]


def test_skipped_offsets_that_hold_messages_are_read_again() -> None:
    """A jump of the position must never make messages count as absent."""
    c = collector()
    assert c.add(Messages.of([FakeMessage(0), FakeMessage(1), FakeMessage(7)]), 0) == 2
    assert c.add(Messages.of([FakeMessage(at) for at in range(2, 9)]), 0) is None
    batch = c.take(0)
    assert batch.messages.offsets.tolist() == list(range(9))
    assert batch.absent == 0


def test_messages_delivered_twice_are_collected_once() -> None:
    c = collector()
    c.add(Messages.of([FakeMessage(0), FakeMessage(1), FakeMessage(2)]), 0)
    c.add(Messages.of([FakeMessage(1), FakeMessage(2), FakeMessage(3)]), 0)
    assert c.take(0).messages.offsets.tolist() == [0, 1, 2, 3]


def test_one_message_larger_than_the_limit_is_a_batch() -> None:
    c = collector(size=10)
    c.add(Messages.of([FakeMessage(0, b"x" * 50), FakeMessage(1)]), 0)
    assert len(c.take(0).messages) == 1


def test_a_tombstone_is_collected() -> None:
    c = collector(age=0)
    c.add(Messages.of([FakeMessage(0, None)]), 0)
    assert c.take(0).messages.values == [None]


def test_offsets_skipped_before_the_end_are_read_again_once() -> None:
    """Aborted transactions at the very end: no message will ever follow them."""
    c = collector(rows=100, start=10)
    assert c.reach(10, 0.0) is None
    assert c.reach(14, 0.0) == 10
    assert c.offsets == 0
    assert c.reach(14, 0.0) is None
    assert c.offsets == 4
    assert not c.ready(0.5)
    assert c.ready(1.0)
    batch = c.take(1.0)
    assert (batch.first_offset, batch.last_offset, batch.absent, len(batch.messages)) == (10, 13, 4, 0)
    assert c.next_offset == 14
    assert not c.ready(1e9)


def test_a_message_that_was_skipped_before_the_end_is_taken() -> None:
    c = collector(start=10)
    assert c.reach(12, 0.0) == 10
    assert c.add(Messages.of([FakeMessage(10)]), 0.0) is None
    assert c.reach(12, 0.0) == 11
    assert c.reach(12, 0.0) is None
    batch = c.take(0.0)
    assert (batch.messages.offsets.tolist(), batch.last_offset) == ([10], 11)


def test_a_partition_is_behind_until_its_end_was_reached() -> None:
    c = collector(age=1.0)
    assert c.is_behind(0.0, 1_000)
    c.reach(0, 5.0)
    assert not c.is_behind(60.0, 1_000), "Kafka says it once, and nothing has come since"
    c.add(Messages.of([FakeMessage(0)]), 61.0)
    assert not c.is_behind(62.0, 1_000)
    assert c.is_behind(62.1, 1_000), "the end was not reached since"
    c.add(Messages.of([FakeMessage(1, b"x" * 900)]), 61.5)
    assert c.is_behind(61.5, 1_000), "much has come since"


def test_the_ages_of_batches_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions that were assigned together do not store their batches in the same moment."""
    monkeypatch.setattr(batch_module, "SPREAD_MIN", 0.6)
    ages = set()
    for start in range(50):
        c = collector(rows=100, age=1.0, start=start)
        c.add(Messages.of([FakeMessage(start)]), 0.0)
        c.reach(start + 1, 0.0)
        ages.add(next(age for age in range(101) if c.ready(age / 100)))
    assert min(ages) >= 60
    assert max(ages) <= 100
    assert len(ages) > 30


class TestReplay:
    @staticmethod
    def replayer(last: int, start: int = 5) -> Collector:
        return Collector(PARTITION, start, BatchLimits(2, 10, 0.0, 0.0), replay_last=last)

    def test_no_limit_cuts_it(self) -> None:
        c = self.replayer(9)
        assert c.is_replaying
        assert c.is_behind(0.0, 1_000)
        c.add(Messages.of([FakeMessage(at, b"x" * 9) for at in range(5, 9)]), 0.0)
        c.reach(9, 0.0)
        assert not c.ready(1e9)
        c.add(Messages.of([FakeMessage(9), FakeMessage(10), FakeMessage(11)]), 0.0)
        assert c.ready(0.0, waits=True)
        batch = c.take(0.0)
        assert (batch.first_offset, batch.last_offset, batch.absent) == (5, 9, 0)
        assert not c.is_replaying
        assert c.take(0.0).messages.offsets.tolist() == [10, 11]

    def test_its_last_offset_need_not_hold_a_message(self) -> None:
        c = self.replayer(9)
        read_all(c, [FakeMessage(5), FakeMessage(7), FakeMessage(12)])
        batch = c.take(0.0)
        assert (batch.first_offset, batch.last_offset, batch.absent) == (5, 9, 3)
        rest = c.take(0.0)
        assert (rest.first_offset, rest.last_offset, rest.absent) == (10, 12, 2)

    def test_it_may_hold_no_message_at_all(self) -> None:
        c = self.replayer(6)
        assert c.reach(7, 0.0) == 5
        assert not c.ready(1e9)
        assert c.reach(7, 0.0) is None
        batch = c.take(0.0)
        assert (batch.first_offset, batch.last_offset, batch.absent) == (5, 6, 2)

    def test_what_follows_it_among_the_absent_stays_collected(self) -> None:
        c = self.replayer(6)
        read_all(c, [FakeMessage(5), FakeMessage(10)])
        assert c.take(0.0).last_offset == 6
        assert (c.next_offset, c.offsets) == (7, 4)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 40)), min_size=1, max_size=60),
    st.integers(1, 20),
    st.integers(1, 100),
)
def test_batches_cover_every_offset_once(gaps: list[tuple[int, int]], rows: int, size: int) -> None:
    c = collector(rows=rows, size=size)
    offset, messages = -1, []
    for gap, length in gaps:
        offset += gap
        messages.append(FakeMessage(offset, b"x" * length))
    assert read_all(c, messages) == any(gap > 1 for gap, _ in gaps), "all gaps at once"
    expected_first, seen = 0, 0
    while c.offsets:
        batch = c.take(0)
        assert batch.first_offset == expected_first
        assert 1 <= len(batch.messages) <= rows
        assert len(batch.messages) == 1 or batch.messages.value_bytes <= size
        assert batch.last_offset - batch.first_offset + 1 == len(batch.messages) + batch.absent
        expected_first, seen = batch.last_offset + 1, seen + len(batch.messages)
    assert seen == len(messages)
    assert expected_first == offset + 1


@given(
    holes=st.lists(st.booleans(), min_size=1, max_size=40),
    cuts=st.lists(st.integers(1, 9), min_size=1),
    jump=st.integers(0, 8),
    rows=st.integers(1, 12),
    replay=st.integers(-1, 39),
    base=st.sampled_from([0, 1 << 32, OFFSET_MAX - 39]),
)
def test_whatever_way_a_log_is_delivered_every_offset_is_covered(
    holes: list[bool], cuts: list[int], jump: int, rows: int, replay: int, base: int
) -> None:
    """A log with holes, also at its end, in polls of any size, one of which begins too far on."""
    end = base + len(holes)
    replay_last = min(base + replay, end - 1) if replay >= 0 else None
    c = Collector(PARTITION, base, BatchLimits(rows, 1_000, 0.0, 0.0), replay_last)
    log = [FakeMessage(at) for at, hole in enumerate(holes, base) if not hole]
    seen: list[int] = []
    covered, at, polls = base, base, 0
    while covered < end:
        assert polls < 400, "it stands still"
        count = cuts[polls % len(cuts)]
        begin = at + 2 if polls == jump else at
        coming = [message for message in log if message.at >= begin][:count]
        again = c.add(Messages.of(coming), 0.0)
        at = coming[-1].at + 1 if coming else at
        if again is None and not [message for message in log if message.at >= at]:
            again = c.reach(end, 0.0)
        at = at if again is None else again
        while c.ready(1.0) and c.offsets:
            batch = c.take(1.0)
            assert batch.first_offset == covered
            if covered == base and replay_last is not None:
                assert batch.last_offset == replay_last
            covered = batch.last_offset + 1
            seen += batch.messages.offsets.tolist()
        polls += 1
    assert covered == end
    assert seen == [message.at for message in log]

"""Collecting: batches are cut by rows, bytes and age, and stand for every offset in between."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from auditlog_consumer.batch import BatchLimits, Collector
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition

PARTITION = Partition("audit.events", UUID(int=1), 3)


@dataclass(frozen=True)
class FakeMessage:
    at: int
    body: bytes | None = b"x"

    def value(self) -> bytes | None:
        return self.body

    def key(self) -> bytes | None:
        return None

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return (2, 0)


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
    c = collector(age=1.0)
    c.reach(2)
    c.add(Messages.of([FakeMessage(0)]), 5.0)
    c.add(Messages.of([FakeMessage(1)]), 5.9)
    assert not c.ready(5.99)
    assert c.ready(6.0)


def test_a_backlog_is_ready_later() -> None:
    c = collector(age=1.0)
    c.add(Messages.of([FakeMessage(0), FakeMessage(1)]), 0.0)
    assert not c.ready(3.9)
    assert c.ready(4.0)
    c.reach(2)
    assert c.ready(1.0)
    c.add(Messages.of([FakeMessage(2)]), 1.0)
    assert not c.ready(1.0), "there is more than when the end was reached"


def test_a_batch_stands_for_every_offset_from_its_first() -> None:
    c = collector(start=10)
    read_all(c, [FakeMessage(12), FakeMessage(13), FakeMessage(17)])
    batch = c.take(0)
    assert (batch.first_offset, batch.last_offset, batch.absent) == (10, 17, 5)
    assert c.next_offset == 18
    assert len(c) == 0
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
    assert read_all(c, messages) == sum(gap > 1 for gap, _ in gaps)
    expected_first, seen = 0, 0
    while len(c):
        batch = c.take(0)
        assert batch.first_offset == expected_first
        assert 1 <= len(batch.messages) <= rows
        assert len(batch.messages) == 1 or batch.messages.value_bytes <= size
        assert batch.last_offset - batch.first_offset + 1 == len(batch.messages) + batch.absent
        expected_first, seen = batch.last_offset + 1, seen + len(batch.messages)
    assert seen == len(messages)
    assert expected_first == offset + 1

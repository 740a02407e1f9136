"""Batches that were passed over, on their way through messages, collectors and letters."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog_consumer.batch import BatchLimits, Collector
from auditlog_consumer.judge import LETTERS_OF_A_BATCH_MAX, passed_over
from auditlog_consumer.messages import BATCH_TOO_LARGE, Messages, PassedOver
from auditlog_consumer.partition import Partition
from kit.kafka_message import FakeMessage

PARTITION = Partition("audit.events", UUID(int=1), 0)
LIMITS = BatchLimits(rows_max=100, bytes_max=1 << 20, age_seconds_max=1.0, backlog_age_seconds_max=4.0)


def passed(first: int, last: int) -> PassedOver:
    return PassedOver(first, last, 7, BATCH_TOO_LARGE, "a bomb", b"raw")


def around(first: int, last: int) -> Messages:
    """Return one message, a batch that was passed over, and one message behind it."""
    parts = [
        Messages.of([FakeMessage(first - 1)]),
        Messages.passing(passed(first, last)),
        Messages.of([FakeMessage(last + 1)]),
    ]
    return Messages.joined(parts)


def test_a_place_covers_all_offsets_of_its_batch() -> None:
    messages = around(5, 9)
    assert messages.first_offsets.tolist() == [4, 5, 10]
    assert messages.offsets.tolist() == [4, 9, 10]
    assert (len(messages), messages.covered) == (3, 7)
    assert messages.between(0, 1).passed == messages.between(2, 3).passed == ()
    assert messages.between(1, 2).passed == (passed(5, 9),)


@pytest.mark.parametrize("offset", range(3, 12))
def test_dividing_keeps_every_offset(offset: int) -> None:
    divided = around(5, 9).divided_after(offset)
    assert divided.covered == 7
    if 5 <= offset < 9:
        assert divided.passed == (passed(5, offset), passed(offset + 1, 9))
        assert offset in divided.offsets
    else:
        assert divided.passed == (passed(5, 9),)


def test_a_collector_makes_it_a_batch_of_its_own_at_once() -> None:
    collector = Collector(PARTITION, 4, LIMITS)
    assert collector.add(around(5, 9), 0.0) is None
    batches = []
    while collector.offsets and collector.ready(0.0):
        batches.append(collector.take(0.0))
    ranges = [(batch.first_offset, batch.last_offset, batch.absent) for batch in batches]
    assert ranges == [(4, 4, 0), (5, 9, 0)]
    assert collector.next_offset == 10
    # What is behind it waits for its time, as ever.
    assert collector.ready(4.0)


def test_what_is_skipped_before_it_is_read_again() -> None:
    collector = Collector(PARTITION, 2, LIMITS)
    assert collector.add(Messages.passing(passed(5, 9)), 0.0) == 2
    assert collector.add(Messages.passing(passed(5, 9)), 0.0) is None
    batch = collector.take(0.0)
    assert (batch.first_offset, batch.last_offset, batch.absent) == (2, 9, 3)


@pytest.mark.parametrize("last", [4, 5, 7, 9, 10])
def test_a_replay_ends_exactly_where_it_was_announced(last: int) -> None:
    collector = Collector(PARTITION, 4, LIMITS, replay_last=last)
    assert collector.add(around(5, 9), 0.0) is None
    batch = collector.take(0.0)
    assert (batch.first_offset, batch.last_offset, batch.absent) == (4, last, 0)
    assert collector.next_offset == last + 1
    assert collector.offsets == 10 - last


@given(first=st.integers(0, 1 << 40), count=st.integers(1, 1 << 31))
def test_letters_stand_for_each_offset_once_and_there_are_not_too_many(first: int, count: int) -> None:
    letters = list(passed_over(passed(first, first + count - 1)))
    assert letters[0].offset == first
    assert letters[-1].last_offset == first + count - 1
    assert all(one.last_offset + 1 == next.offset for one, next in pairwise(letters))
    assert len(letters) <= min(count, LETTERS_OF_A_BATCH_MAX)
    assert [letter.value for letter in letters[:2]] == [b"raw", None][: len(letters)]

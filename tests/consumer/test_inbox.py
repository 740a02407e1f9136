"""The inbox: bounded, in order, and closed to whatever does not begin where the partition stands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from auditlog_consumer.fetch.inbox import QUEUED_BYTES_MAX, TROUBLE_MAX, Inbox, Position
from auditlog_consumer.messages import Messages
from auditlog_schemas.errors import BrokerUnavailable, TerminalError

MB = 1 << 20


def messages(first: int, count: int, size: int = 1) -> Messages:
    offsets = np.arange(first, first + count, dtype=np.int64)
    return Messages.by_column([bytes(size)] * count, [None] * count, offsets, np.zeros(count, np.int64))


def started(inbox: Inbox, partition: int = 0, offset: int = 0) -> Position:
    inbox.start(partition, offset)
    return inbox._positions[partition]


def offsets(inbox: Inbox, partition: int = 0, messages_max: int = 1_000) -> list[int]:
    found = inbox.take(messages_max).messages.get(partition)
    return [] if found is None else found.offsets.tolist()


def test_what_does_not_begin_where_the_partition_stands_is_not_taken_in() -> None:
    inbox = Inbox()
    position = started(inbox, offset=5)
    assert not inbox._put(0, position, 4, messages(4, 3))
    assert inbox._put(0, position, 5, messages(5, 3))
    # Another reader, which asked for the same.
    assert not inbox._put(0, position, 5, messages(5, 3))
    inbox._reach(0, position, 5, (7, 2), 8, 8)
    assert (position.offset, position.epoch) == (8, -1)
    assert offsets(inbox) == [5, 6, 7]
    assert not inbox.has_news


def test_the_epoch_is_unknown_until_all_of_an_answer_is_there() -> None:
    """Or a broker would take the offset of a newer leader for one that the older leader had lost."""
    inbox = Inbox()
    position = started(inbox)
    inbox._put(0, position, 0, messages(0, 3))
    inbox._reach(0, position, 3, (3, 7), 100, 100)
    assert (position.offset, position.epoch) == (4, 7)
    inbox._put(0, position, 4, messages(4, 3))
    assert (position.offset, position.epoch) == (7, -1)
    inbox._reach(0, position, 7, None, 100, 100)
    assert position.epoch == -1
    inbox._reach(0, position, 7, (9, 8), 100, 100)
    assert (position.offset, position.epoch) == (10, 8)


def test_what_was_asked_for_before_another_start_is_dropped() -> None:
    inbox = Inbox()
    before = started(inbox)
    inbox._put(0, before, 0, messages(0, 3))
    inbox._stand(0, before)
    after = started(inbox, offset=0)
    assert not inbox._put(0, before, 3, messages(3, 3))
    inbox._reach(0, before, 3, (5, 1), 6, 6)
    inbox._stand(0, before, TerminalError("late"))
    assert inbox._queued_bytes == 0
    assert not inbox.has_news
    assert inbox._put(0, after, 0, messages(0, 2))
    assert offsets(inbox) == [0, 1]


def test_no_more_messages_are_taken_than_one_wants_and_the_end_comes_behind_them() -> None:
    inbox = Inbox()
    for number in (0, 1):
        position = started(inbox, number)
        for first in (0, 4):
            inbox._put(number, position, first, messages(first, 4))
        inbox._reach(number, position, 8, (7, 0), 8, 8)
    assert not inbox.take(0).messages
    polls = [inbox.take(3) for _ in range(6)]
    taken = [sum(map(len, polled.messages.values())) for polled in polls]
    assert taken == [3, 3, 3, 3, 3, 1]
    assert [polled.ends for polled in polls] == [{}, {}, {0: 8}, {}, {}, {1: 8}]
    assert inbox._queued_bytes == 0


def test_a_transaction_that_is_open_is_told_when_it_is_reached_and_when_it_is_over() -> None:
    inbox = Inbox()
    position = started(inbox)
    inbox._reach(0, position, 0, (2, 1), 5, 9)
    # It was not reached yet.
    assert inbox.take(1).held == {0: None}
    for end in (9, 20):
        inbox._reach(0, position, 3, (4, 1) if end == 9 else None, 5, end)
        inbox._reach(0, position, 5, None, 5, end)
    assert inbox.take(1).held == {0: 5}
    inbox._reach(0, position, 5, (7, 1), 8, 20)
    inbox._reach(0, position, 8, (19, 1), 20, 20)
    assert inbox.take(1).held == {0: None}
    # After another start nothing is known of it.
    position = started(inbox, offset=20)
    inbox._reach(0, position, 20, None, 20, 21)
    inbox.stop(0)
    assert inbox.take(1).held == {}
    position = started(inbox, offset=20)
    inbox._reach(0, position, 20, None, 20, 20)
    assert inbox.take(1).held == {0: None}


def full(inbox: Inbox) -> Position:
    """Fill an inbox with partition 0."""
    position = started(inbox)
    while inbox._queued_bytes < QUEUED_BYTES_MAX:
        inbox._put(0, position, position.offset, messages(position.offset, 1, 8 * MB))
    return position


@pytest.mark.parametrize(
    ("does", "is_put"),
    [
        (lambda inbox: inbox.take(1), True),
        (lambda inbox: inbox.start(0, 0), False),
        (lambda inbox: inbox.stop(0), False),
        (lambda inbox: inbox.close(), False),
    ],
    ids=["take", "start", "stop", "close"],
)
def test_who_waits_for_room_is_let_go(does: Callable[[Inbox], object], is_put: bool) -> None:
    inbox, found = Inbox(), list[bool]()
    position = full(inbox)
    at = position.offset
    waiting = threading.Thread(target=lambda: found.append(inbox._put(0, position, at, messages(at, 1))))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    does(inbox)
    waiting.join(30)
    assert found == [is_put]


def test_trouble_is_bounded_and_the_latest_is_kept() -> None:
    inbox = Inbox()
    for number in range(100):
        inbox._tell_trouble(BrokerUnavailable(str(number)))
    assert [str(error) for error in inbox.take(1).trouble] == [str(n) for n in range(100 - TROUBLE_MAX, 100)]


def test_what_ends_all_is_raised_again_and_again() -> None:
    inbox = Inbox()
    inbox._end_with(TerminalError("over"))
    for _ in range(2):
        inbox.wait(30)
        with pytest.raises(TerminalError, match="over"):
            inbox.take(1)


def test_who_waits_is_woken() -> None:
    inbox = Inbox()
    threading.Timer(0.05, inbox.wake).start()
    began = time.monotonic()
    inbox.wait(30)
    assert time.monotonic() - began < 20
    assert not inbox.has_news

"""Commits between threads: in order for each partition, answered or let go of, never waited for in vain."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from confluent_kafka import KafkaError, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from auditlog_consumer import commits as commits_module
from auditlog_consumer.commits import Commits
from auditlog_consumer.partition import Epoch, EpochEnded
from auditlog_schemas.errors import BrokerUnavailable, ConfigError, TerminalError

SECONDS_MAX = 10.0


def epoch() -> Epoch:
    return Epoch(threading.Event())


def take(commits: Commits) -> list[tuple[int, int, str]]:
    return [(wish.partition, wish.offset, wish.metadata) for wish in commits.take()]


def at(partition: int) -> TopicPartition:
    return TopicPartition("events", partition)


class Refused(TopicPartition):
    """What Kafka says of a partition; librdkafka sets the error, Python cannot."""

    error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)


@contextmanager
def asking(
    commits: Commits, *wishes: tuple[int, int, str], of: Epoch | None = None
) -> Iterator[list[Future[None]]]:
    """Ask in a thread for each wish, and go on when all of them wait, in this order."""
    owner = of or epoch()
    with ThreadPoolExecutor(max(len(wishes), 1)) as threads:
        futures = []
        for wish in wishes:
            before = waiting(commits)
            futures.append(threads.submit(commits.ask, owner, *wish))
            deadline = time.monotonic() + SECONDS_MAX
            while waiting(commits) == before:
                assert time.monotonic() < deadline, "nobody asks"
                time.sleep(0.001)
        try:
            yield futures
        finally:
            commits.close()


def waiting(commits: Commits) -> int:
    return sum(map(len, commits._waiting.values()))


def test_one_is_on_its_way_for_each_partition() -> None:
    commits = Commits()
    with asking(commits, (0, 10, "a"), (1, 20, "b"), (0, 11, "c")) as [first, other, second]:
        assert sorted(take(commits)) == [(0, 10, "a"), (1, 20, "b")]
        assert take(commits) == []
        commits.answer(None, [at(0)])
        first.result(SECONDS_MAX)
        assert not other.done()
        assert take(commits) == [(0, 11, "c")]
        commits.answer(None, [at(1), at(0)])
        other.result(SECONDS_MAX)
        second.result(SECONDS_MAX)


def test_what_is_left_follows_what_was_asked_before() -> None:
    commits = Commits()
    with asking(commits, (0, 10, "a")) as [asked]:
        commits.leave(None, 0, 12, "")
        commits.leave(None, 1, 5, "")
        assert sorted(take(commits)) == [(0, 10, "a"), (1, 5, "")]
        commits.answer(None, [at(0)])
        asked.result(SECONDS_MAX)
        assert take(commits) == [(0, 12, "")]
        commits.answer(KafkaError(KafkaError.UNKNOWN_MEMBER_ID), [at(0)])
        assert take(commits) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (KafkaError.UNKNOWN_MEMBER_ID, BrokerUnavailable),
        (KafkaError.ILLEGAL_GENERATION, BrokerUnavailable),
        (KafkaError.FENCED_INSTANCE_ID, BrokerUnavailable),
        (KafkaError._DESTROY, BrokerUnavailable),
        (KafkaError._DESTROY_BROKER, BrokerUnavailable),
        (KafkaError.REBALANCE_IN_PROGRESS, BrokerUnavailable),
        (KafkaError._WAIT_COORD, BrokerUnavailable),
        (KafkaError.REQUEST_TIMED_OUT, BrokerUnavailable),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, ConfigError),
        (KafkaError.OFFSET_METADATA_TOO_LARGE, TerminalError),
    ],
)
def test_an_error_is_the_answer(code: int, expected: type[Exception]) -> None:
    commits = Commits()
    with asking(commits, (0, 10, "a"), (1, 20, "b")) as [first, second]:
        commits.take()
        commits.answer(KafkaError(code), [at(0), at(1)])
        for asked in (first, second):
            with pytest.raises(expected):
                asked.result(SECONDS_MAX)


def test_an_error_of_one_partition_is_its_own() -> None:
    commits = Commits()
    with asking(commits, (0, 10, "a"), (1, 20, "b")) as [first, second]:
        commits.take()
        commits.answer(None, [Refused("events", 0), at(1)])
        with pytest.raises(ConfigError):
            first.result(SECONDS_MAX)
        second.result(SECONDS_MAX)


def test_an_answer_to_nobody_is_passed_over() -> None:
    commits = Commits()
    commits.answer(None, [at(0)])
    commits.answer(KafkaError(KafkaError._TIMED_OUT), [at(3)])
    commits.leave(None, 0, 1, "")
    assert take(commits) == [(0, 1, "")]


def test_who_gives_up_is_not_sent_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits_module, "ANSWER_SECONDS_MAX", 0.02)
    commits = Commits()
    with pytest.raises(BrokerUnavailable, match="in time"):
        commits.ask(epoch(), 0, 10, "a")
    assert take(commits) == []


def test_a_late_answer_to_who_has_given_up_makes_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until Kafka has answered the first, a second could overtake it."""
    commits = Commits()
    monkeypatch.setattr(commits_module, "ANSWER_SECONDS_MAX", 0.05)
    with asking(commits, (0, 10, "a")) as [asked]:
        assert take(commits) == [(0, 10, "a")]
        with pytest.raises(BrokerUnavailable, match="in time"):
            asked.result(SECONDS_MAX)
        commits.leave(None, 0, 10, "again")
        assert take(commits) == []
        commits.answer(None, [at(0)])
        assert take(commits) == [(0, 10, "again")]


def test_dropping_lets_go_of_those_who_wait_and_of_those_on_their_way() -> None:
    commits = Commits()
    with asking(commits, (0, 10, "a"), (0, 11, "b"), (1, 20, "c")) as [sent, waits, other]:
        commits.leave(None, 0, 12, "")
        commits.take()
        commits.drop([0, 7])
        for asked in (sent, waits):
            with pytest.raises(BrokerUnavailable, match="taken away"):
                asked.result(SECONDS_MAX)
        assert not other.done()
        commits.answer(None, [at(1)])
        other.result(SECONDS_MAX)
        commits.leave(None, 0, 30, "of the next epoch")
        assert take(commits) == [], "the one on its way has no answer yet"
        commits.answer(KafkaError(KafkaError.ILLEGAL_GENERATION), [at(0)])
        assert take(commits) == [(0, 30, "of the next epoch")]


def test_after_closing_nobody_waits() -> None:
    commits = Commits()
    with asking(commits, (0, 10, "a"), (0, 11, "b"), (1, 20, "c")) as asked:
        commits.take()
        commits.close()
        for each in asked:
            with pytest.raises(BrokerUnavailable):
                each.result(SECONDS_MAX)
    assert take(commits) == []
    commits.answer(None, [at(0), at(1)])


def test_a_dead_epochs_wishes_are_never_sent() -> None:
    """The next epoch of the partition may have announced something else by then."""
    commits, dead = Commits(), epoch()
    with asking(commits, (0, 10, "a"), (0, 11, "b"), (1, 20, "c"), of=dead) as [sent, waits, other]:
        assert sorted(take(commits)) == [(0, 10, "a"), (1, 20, "c")]
        commits.leave(dead, 0, 12, "")
        commits.leave(dead, 1, 21, "")
        commits.leave(epoch(), 0, 5, "of the next epoch")
        dead.end()
        commits.answer(None, [at(0), at(1)])
        assert take(commits) == [(0, 5, "of the next epoch")]
        sent.result(SECONDS_MAX)
        other.result(SECONDS_MAX)
        with pytest.raises(BrokerUnavailable, match="taken away"):
            waits.result(SECONDS_MAX)


def test_an_epoch_that_has_ended_wishes_for_nothing() -> None:
    commits, dead = Commits(), epoch()
    dead.end()
    with pytest.raises(EpochEnded):
        commits.ask(dead, 0, 10, "a")
    commits.leave(dead, 0, 11, "")
    assert take(commits) == []


def test_a_closed_epoch_begins_nothing_new_and_ends_what_it_began() -> None:
    commits, closed = Commits(), epoch()
    with asking(commits, (0, 10, "a"), of=closed) as [asked]:
        closed.close()
        with pytest.raises(EpochEnded):
            commits.ask(closed, 0, 12, "b")
        assert take(commits) == [(0, 10, "a")]
        commits.answer(None, [at(0)])
        asked.result(SECONDS_MAX)
        commits.leave(closed, 0, 12, "")
        assert take(commits) == [(0, 12, "")]


@given(
    st.lists(st.one_of(st.tuples(st.just("leave"), st.integers(0, 2)), st.sampled_from(["take", "answer"])))
)
def test_a_partitions_commits_arrive_in_the_order_they_were_wished(
    steps: list[str | tuple[str, int]],
) -> None:
    commits, wished, on_way = Commits(), dict[int, list[int]](), list[int]()
    arrived: dict[int, list[int]] = {}
    for number, step in enumerate([*steps, *["take", "answer"] * len(steps)]):
        if step == "take":
            for partition, offset, _ in take(commits):
                assert partition not in on_way
                on_way.append(partition)
                arrived.setdefault(partition, []).append(offset)
        elif step == "answer":
            commits.answer(None, [at(partition) for partition in on_way])
            on_way.clear()
        else:
            wished.setdefault(int(step[1]), []).append(number)
            commits.leave(None, int(step[1]), number, "")
    assert arrived == wished

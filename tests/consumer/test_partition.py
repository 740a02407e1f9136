"""Epochs and patience: waiting ends when the partition is taken away, and only what is transient waits."""

from __future__ import annotations

import threading
import time

import pytest

from auditlog_consumer import patience
from auditlog_consumer.partition import Epoch, EpochEnded
from auditlog_consumer.patience import persist
from auditlog_schemas.errors import StorageRejected, StorageUnavailable


def test_persist_repeats_until_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "DELAY_SECONDS_MIN", 0.001)
    answers: list[Exception | int] = [StorageUnavailable("away"), StorageUnavailable("away"), 7]

    def step() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert persist(Epoch(threading.Event()), "trying", step) == 7
    assert answers == []


def test_persist_does_not_repeat_what_is_terminal() -> None:
    calls = 0

    def step() -> None:
        nonlocal calls
        calls += 1
        raise StorageRejected("no such table", 60)

    with pytest.raises(StorageRejected):
        persist(Epoch(threading.Event()), "trying", step)
    assert calls == 1


def test_ending_the_epoch_ends_the_wait() -> None:
    epoch = Epoch(threading.Event())

    def step() -> None:
        raise StorageUnavailable("away")

    threading.Timer(0.1, epoch.end).start()
    started = time.monotonic()
    with pytest.raises(EpochEnded):
        persist(epoch, "trying", step)
    assert time.monotonic() - started < 2
    assert not epoch.alive


def test_a_dead_epoch_does_nothing() -> None:
    epoch = Epoch(threading.Event())
    epoch.end()
    calls: list[int] = []
    with pytest.raises(EpochEnded):
        persist(epoch, "trying", lambda: calls.append(1))
    assert calls == []


def test_a_closed_epoch_finishes_and_begins_nothing() -> None:
    epoch = Epoch(threading.Event())
    epoch.require_open()
    epoch.close()
    assert epoch.alive
    epoch.require()
    epoch.pause(0.0)
    with pytest.raises(EpochEnded):
        epoch.require_open()


def test_an_epoch_that_has_ended_is_not_open_either() -> None:
    epoch = Epoch(threading.Event())
    epoch.end()
    for ask in (epoch.require, epoch.require_open, lambda: epoch.pause(0.0)):
        with pytest.raises(EpochEnded):
            ask()


def test_pauses_grow_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    epoch, pauses = Epoch(threading.Event()), list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 9:
            epoch.end()

    def step() -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(epoch, "pause", pause)
    with pytest.raises(EpochEnded):
        persist(epoch, "trying", step)
    bounds = [min(0.2 * 2**times, 5.0) for times in range(9)]
    assert all(0.7 * most <= paused <= most for paused, most in zip(pauses, bounds, strict=True))

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

    assert persist(Epoch(), "trying", step) == 7
    assert answers == []


def test_persist_does_not_repeat_what_is_terminal() -> None:
    calls = 0

    def step() -> None:
        nonlocal calls
        calls += 1
        raise StorageRejected("no such table", 60)

    with pytest.raises(StorageRejected):
        persist(Epoch(), "trying", step)
    assert calls == 1


def test_ending_the_epoch_ends_the_wait() -> None:
    epoch = Epoch()

    def step() -> None:
        raise StorageUnavailable("away")

    threading.Timer(0.1, epoch.end).start()
    started = time.monotonic()
    with pytest.raises(EpochEnded):
        persist(epoch, "trying", step)
    assert time.monotonic() - started < 2
    assert not epoch.alive


def test_a_dead_epoch_does_nothing() -> None:
    epoch = Epoch()
    epoch.end()
    calls: list[int] = []
    with pytest.raises(EpochEnded):
        persist(epoch, "trying", lambda: calls.append(1))
    assert calls == []

"""The engine's clock as seen from here: never later than it is, whatever either clock shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog_consumer.engine_clock import EngineClock
from auditlog_schemas.errors import StorageUnavailable

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clocks:
    """Two clocks that go on together; asking takes a while."""

    def __init__(self, ours: float, engine: datetime) -> None:
        self.ours, self.engine = ours, engine
        self.way_there, self.way_back = 0.0, 0.0
        self.away = False

    def pass_by(self, seconds: float) -> None:
        self.ours += seconds
        self.engine += timedelta(seconds=seconds)

    def ask(self) -> datetime:
        self.pass_by(self.way_there)
        if self.away:
            raise StorageUnavailable("away")
        shown = self.engine
        self.pass_by(self.way_back)
        return shown

    def monotonic(self) -> float:
        return self.ours


def read(clocks: Clocks) -> EngineClock:
    clock = EngineClock(clocks.ask, clocks.monotonic)
    clock.read()
    return clock


def test_it_goes_on_with_ours() -> None:
    clocks = Clocks(100.0, NOON)
    clock = read(clocks)
    assert clock.now() == NOON
    clocks.pass_by(7.5)
    assert clock.now() == NOON + timedelta(seconds=7.5)
    assert clock.at(101.0) == NOON + timedelta(seconds=1)


@given(
    st.floats(0, 1e9),
    st.floats(0, 60),
    st.floats(0, 60),
    st.lists(st.floats(0, 3_600), min_size=1, max_size=5),
)
def test_it_shows_rather_less(ours: float, there: float, back: float, later: list[float]) -> None:
    """A deadline made from it is over too early, never too late."""
    clocks = Clocks(ours, NOON)
    clocks.way_there, clocks.way_back = there, back
    clock = read(clocks)
    for seconds in later:
        clocks.pass_by(seconds)
        behind = (clocks.engine - clock.now()).total_seconds()
        assert -1e-3 <= behind <= back + 1e-3


def test_reading_again_takes_up_a_clock_that_was_set() -> None:
    clocks = Clocks(0.0, NOON)
    clock = read(clocks)
    clocks.engine += timedelta(hours=1)
    assert clock.now() == NOON
    clock.read()
    assert clock.now() == NOON + timedelta(hours=1)


def test_a_question_without_an_answer_changes_nothing() -> None:
    clocks = Clocks(0.0, NOON)
    clock = read(clocks)
    clocks.away = True
    clocks.way_there = 5.0
    with pytest.raises(StorageUnavailable):
        clock.read()
    assert clock.now() == NOON + timedelta(seconds=5)

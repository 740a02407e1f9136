"""The stopwatch of promises takes off what others held up, and no more."""

from __future__ import annotations

import pytest

from kit import stopwatch
from kit.stopwatch import Stopwatch


@pytest.mark.parametrize(("stalled", "seconds"), [(0.0, 8.0), (3.0, 5.0), (8.0, 2.0)])
def test_waiting_for_a_processor_is_taken_off(
    stalled: float, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([(100.0, 50.0), (108.0, 50.0 + stalled)])
    monkeypatch.setattr(stopwatch, "_now", lambda: next(times))
    assert Stopwatch().seconds == seconds


def test_time_and_stalls_only_grow() -> None:
    (first, stalled), (second, later) = stopwatch._now(), stopwatch._now()
    assert first <= second
    assert 0 <= stalled <= later

"""ClickHouse's clock as seen from here, for deadlines that ClickHouse checks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta


class EngineClock:
    """What ClickHouse's clock shows at moments of our monotonic clock. Neither has to be right.

    `read` has to be called first, and again when deadlines turn out to be over before their time: a clock
    was set, or this process stood still while it waited for the answer.

    Args:
        ask: returns what ClickHouse's clock shows now.
        monotonic: our clock, in seconds.
    """

    def __init__(self, ask: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._shown = datetime.min
        self._seconds = 0.0

    def read(self) -> None:
        """Ask ClickHouse; raises what asking raises."""
        shown = self._ask()
        # Taken after the answer: a moment too late, so `at` shows rather less than ClickHouse's clock.
        self._shown, self._seconds = shown, self._monotonic()

    def refresh(self, seconds_max: float) -> None:
        """Ask again when the last answer is older than so many seconds; raises what asking raises."""
        if self._monotonic() - self._seconds > seconds_max:
            self.read()

    def at(self, seconds: float) -> datetime:
        """Return what ClickHouse's clock shows at a moment of our monotonic clock, or a little less."""
        return self._shown + timedelta(seconds=seconds - self._seconds)

    def now(self) -> datetime:
        """Return what ClickHouse's clock shows now, or a little less."""
        return self.at(self._monotonic())

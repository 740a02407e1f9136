"""ClickHouse's clock as seen from here, for deadlines that ClickHouse checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class EngineClock:
    """What ClickHouse's clock showed at a moment of ours; neither clock has to be right.

    Attributes:
        engine_time: what it showed.
        seconds: our monotonic clock, at or after that moment.
    """

    engine_time: datetime
    seconds: float

    @classmethod
    def read(cls, ask: Callable[[], datetime], monotonic: Callable[[], float]) -> EngineClock:
        """Ask ClickHouse; raises what `ask` raises."""
        engine_time = ask()
        return cls(engine_time, monotonic())

    def at(self, seconds: float) -> datetime:
        """Return what ClickHouse's clock shows at a moment of our monotonic clock, or a little less."""
        return self.engine_time + timedelta(seconds=seconds - self.seconds)

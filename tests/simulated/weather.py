"""What goes wrong, how often: drawn once for each seed, so that seeds differ in kind, not only in order."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final


@dataclass(slots=True)
class Weather:
    """Probabilities, each of one step or one request, unless said otherwise. All 0 is a quiet day.

    Attributes:
        at: processes are killed, stopped or cut off only at steps whose names begin like one of these.
        crash: the process is killed within a moment.
        stop: the process is told to end properly; it starts again later.
        pause: the process is stopped for a while, sometimes past the session timeout.
        cut: the process loses Kafka, and nothing else, for a while.
        slow: a step or a request takes long.
        lost_request: a request never arrives.
        lost_answer: a request is carried out, its answer never comes back.
        late: a request is carried out after its client has given up.
        queued: an insert waits in the engine before its deadline is looked at.
        torn: a write of several messages is carried out in part, and fails.
        expiring: Kafka deletes the beginning of a partition while a process is stopped; of each pause.
        skipped: a fetch leaves out messages that are there.
        engine_crashes, engine_outages, broker_outages: how many in a run.
        operator_resets: how often the group's offsets are deleted or set to nonsense, in a run.
        retention: how often Kafka deletes the beginning of a partition, in a run.
        catalogs: whether a consumer that starts may have another catalog than the one before.
        clock_jumps: how often ClickHouse's clock is set forward, in a run.
    """

    at: tuple[str, ...] = ("",)
    crash: float = 0.0
    stop: float = 0.0
    pause: float = 0.0
    cut: float = 0.0
    slow: float = 0.0
    lost_request: float = 0.0
    lost_answer: float = 0.0
    late: float = 0.0
    queued: float = 0.0
    torn: float = 0.0
    expiring: float = 0.0
    skipped: float = 0.0
    engine_crashes: int = 0
    engine_outages: int = 0
    broker_outages: int = 0
    operator_resets: int = 0
    retention: int = 0
    catalogs: bool = False
    clock_jumps: int = 0

    @classmethod
    def drawn(cls, draw: random.Random) -> Weather:
        """Return a seed's weather: each kind of fault is off in about half of the seeds."""
        storm = draw.choice((0.3, 1.0, 1.0, 2.5))
        return cls(
            crash=_rate(draw, 0.02 * storm),
            stop=_rate(draw, 0.02 * storm),
            pause=_rate(draw, 0.015 * storm),
            cut=_rate(draw, 0.008 * storm),
            slow=_rate(draw, 0.15 * storm),
            lost_request=_rate(draw, 0.04 * storm),
            lost_answer=_rate(draw, 0.08 * storm),
            late=_rate(draw, 0.06 * storm),
            queued=_rate(draw, 0.1 * storm),
            torn=_rate(draw, 0.1 * storm),
            skipped=_rate(draw, 0.05 * storm),
            engine_crashes=_times(draw, 3),
            engine_outages=_times(draw, 2),
            broker_outages=_times(draw, 2),
            operator_resets=_times(draw, 2, 0.2),
            retention=_times(draw, 1, 0.1),
            catalogs=draw.random() < 0.3,
            clock_jumps=_times(draw, 1, 0.15),
        )

    def calm_down(self) -> None:
        """Let nothing go wrong from now on."""
        quiet = Weather()
        for item in fields(self):
            setattr(self, item.name, getattr(quiet, item.name))

    def copy(self) -> Weather:
        """Return the same weather, to be calmed down on its own."""
        return replace(self)


STARTING: Final = ("identify", "ask", "read the", "look for", "count", "claim", "announce", "record")
"""How the steps of a start begin."""

TWO_GROUPS: Final = "two groups"

FOCUSES: Final[Mapping[str, Weather]] = {
    "handover": Weather(crash=0.01, slow=0.1, queued=0.5, stop=0.06, catalogs=True),
    "zombies": Weather(pause=0.05, cut=0.01, slow=0.25, late=0.1, queued=0.1, lost_answer=0.05),
    "engine": Weather(slow=0.1, lost_answer=0.1, late=0.05, engine_crashes=6, crash=0.005),
    "stopped before inserts": Weather(at=("insert",), pause=0.3, operator_resets=2, catalogs=True),
    "stopped before records": Weather(at=("record",), pause=0.3, operator_resets=3),
    "ended during inserts": Weather(at=("insert",), stop=0.4, queued=0.6, catalogs=True),
    "operator": Weather(
        crash=0.03, slow=0.1, late=0.1, queued=0.2, lost_answer=0.05, operator_resets=2, engine_crashes=1
    ),
    "broker": Weather(slow=0.1, lost_answer=0.1, lost_request=0.1, torn=0.3, broker_outages=3, crash=0.02),
    "stopped while starting": Weather(
        at=STARTING, pause=0.15, cut=0.03, stop=0.02, slow=0.4, expiring=0.7, retention=2
    ),
    "stopped before losses": Weather(
        at=("look for the highest", "ask for the ends"),
        pause=0.2,
        stop=0.02,
        slow=0.3,
        expiring=1.0,
        retention=2,
    ),
    TWO_GROUPS: Weather(crash=0.01, pause=0.02, slow=0.2, lost_answer=0.05, engine_crashes=2),
    "clocks": Weather(clock_jumps=2, pause=0.03, slow=0.1),
}
"""Weather of one kind, for looking for one kind of fault; consumers and messages are drawn as ever."""


def _rate(draw: random.Random, most: float) -> float:
    return min(draw.random() * most, 0.4) if draw.random() < 0.55 else 0.0


def _times(draw: random.Random, most: int, chance: float = 0.4) -> int:
    return draw.randint(1, most) if draw.random() < chance else 0

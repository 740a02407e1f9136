"""What a seed stands for: how many of everything, what is published when, and the weather."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from simulated.payloads import Payload, payloads
from simulated.weather import FOCUSES, TWO_GROUPS, Weather

HEARTBEATS_OF_SESSION: Final = 10
"""How many heartbeats fit into a session."""


@dataclass(frozen=True, slots=True)
class Published:
    """A message, or offsets that hold none, or a batch that is passed over, and when it comes."""

    seconds: float
    partition: int
    payload: Payload | None
    gap: int = 0
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One seed's course.

    Attributes:
        session_seconds: the session timeout, of which everything else that takes long is a part.
        answer_seconds_max: after which clients give a request up.
        chaos_seconds: how long things go wrong; after that they have to come right.
        window: over how many offsets duplicates are looked for.
        batch_rows: batch sizes, of which each consumer that starts takes one.
        buffered_bytes: memory for messages: sometimes so little that one batch fills it.
        real_judge: whether messages are judged by the real judge, which takes much longer.
        groups: of consumers, by mistake two: one of them has to be turned away.
        refused: the letters of the first partition are refused, until all others are caught up.
    """

    seed: int
    partitions: int
    consumers: int
    session_seconds: float
    answer_seconds_max: float
    chaos_seconds: float
    window: int
    batch_rows: tuple[int, ...]
    storing_threads: int
    buffered_bytes: int
    weather: Weather
    published: tuple[Published, ...]
    real_judge: bool
    refused: bool = False
    groups: int = 1

    def with_partitions(self, partitions: int) -> Scenario:
        """Return the same with so many partitions, and nothing published."""
        return replace(self, partitions=partitions, published=())

    @property
    def heartbeat_seconds(self) -> float:
        """Return how often members tell the group that they live."""
        return self.session_seconds / HEARTBEATS_OF_SESSION

    @property
    def visible_seconds_max(self) -> float:
        """Return how long an insert that has begun may take: it may begin for half a session."""
        return self.session_seconds / 2 - self.heartbeat_seconds

    @property
    def late_seconds_max(self) -> float:
        """Return how long a request may be on its way."""
        return 0.8 * self.session_seconds

    @property
    def queued_seconds_max(self) -> float:
        """Return how long an insert may wait to begin: longer than any deadline."""
        return 2 * self.session_seconds

    @property
    def straggle_seconds_max(self) -> float:
        """Return how long after its client anything of a request may still happen."""
        return self.late_seconds_max + self.queued_seconds_max + self.visible_seconds_max

    @classmethod
    def drawn(cls, seed: int, focus: str | None = None) -> Scenario:
        """Return the scenario of a seed, under weather of its own or of a named kind."""
        draw = random.Random(f"scenario {seed}")
        weather = FOCUSES[focus] if focus else Weather.drawn(draw)
        partitions = draw.choice((1, 1, 2, 3))
        session_seconds = draw.choice((10.0, 10.0, 30.0))
        chaos_seconds = draw.uniform(1.5, 4.5) * session_seconds
        window = draw.choice((6, 10, 20))
        return cls(
            seed=seed,
            partitions=partitions,
            consumers=draw.choice((1, 2, 2, 3)),
            session_seconds=session_seconds,
            answer_seconds_max=draw.choice((0.05, 0.1, 0.3)) * session_seconds,
            chaos_seconds=chaos_seconds,
            window=window,
            batch_rows=tuple(draw.choice((2, 3, 5, 8)) for _ in range(3)),
            storing_threads=draw.choice((1, 2)),
            buffered_bytes=draw.choice((1 << 26, 1 << 26, 4096, 1024)),
            weather=weather,
            published=_in_order(
                _published(draw, partitions, chaos_seconds, window, weather.catalogs),
                _passed(seed, partitions, chaos_seconds),
            ),
            real_judge=draw.random() < 0.03,
            groups=2 if focus == TWO_GROUPS or _also(seed, 4, 6) else 1,
            refused=partitions > 1 and _also(seed, 1, 2, 4, 5, 6, 8, 13),
        )


def _published(
    draw: random.Random, partitions: int, chaos_seconds: float, window: int, catalogs: bool
) -> list[Published]:
    fresh = draw.sample(payloads("good"), len(payloads("good")))
    published: list[Published] = []
    before: list[list[Payload]] = [[] for _ in range(partitions)]
    duplicates, bad, gaps = (draw.choice((0.0, 0.1, 0.3)) for _ in range(3))
    times = sorted(draw.random() * chaos_seconds * 0.8 for _ in range(draw.randint(1, 5)))
    for seconds in times:
        partition = draw.randrange(partitions)
        for _ in range(draw.randint(1, 25)):
            if draw.random() < 0.2:
                partition = draw.randrange(partitions)
            if draw.random() < gaps:
                published.append(Published(seconds, partition, None, draw.randint(1, 3)))
                continue
            payload = _next(draw, fresh, before[partition], window, (duplicates, bad), catalogs)
            before[partition].append(payload)
            published.append(Published(seconds + draw.random() * 2, partition, payload))
    return sorted(published, key=lambda each: each.seconds)


def _also(seed: int, *some: int) -> bool:
    """Tell whether a seed has what came later: those that once found something keep their course."""
    return seed % 16 in some


def _in_order(*published: list[Published]) -> tuple[Published, ...]:
    return tuple(sorted(chain.from_iterable(published), key=lambda each: each.seconds))


def _passed(seed: int, partitions: int, chaos_seconds: float) -> list[Published]:
    """Return batches that cannot be taken apart; with numbers of their own, as `_also` is for."""
    if not _also(seed, 2, 5, 8, 13):
        return []
    draw = random.Random(f"passed {seed}")
    return [
        Published(
            draw.random() * chaos_seconds * 0.8, draw.randrange(partitions), None, passed=draw.randint(1, 12)
        )
        for _ in range(draw.randint(1, 5))
    ]


def _next(
    draw: random.Random,
    fresh: list[Payload],
    before: list[Payload],
    window: int,
    rates: tuple[float, float],
    catalogs: bool,
) -> Payload:
    duplicates, bad = rates
    if before and draw.random() < duplicates:
        back = draw.choice((1, 2, 3, draw.randint(1, 2 * window), window - 1, window, window + 1))
        again = before[-min(back, len(before))]
        if again.kind != "bad":
            return again
    if draw.random() < bad:
        return draw.choice(payloads("bad"))
    if catalogs and draw.random() < 0.35:
        return draw.choice(payloads("new"))
    return fresh.pop() if fresh else draw.choice(payloads("bad"))

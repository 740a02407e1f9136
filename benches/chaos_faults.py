"""Which faults the chaos bench makes, when and to whom: a list that a seed determines."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import fault_proxy

SESSION_SECONDS: Final = 6.0
CONSUMERS: Final = ("consumer-1", "consumer-2", "consumer-3")
EXTRA_CONSUMER: Final = "consumer-extra"
ENGINE, BROKER, DISK, PROXY = "clickhouse", "kafka", "disk", "proxy"


class Kind(StrEnum):
    """What is done to a process or to its disk; what is done to requests is in `fault_proxy.Kind`."""

    KILL_CONSUMER = "kill_consumer"
    STOP_CONSUMER = "stop_consumer"
    """SIGSTOP until after its session timed out, then SIGCONT: it works on as if nothing had happened."""
    RESTART_CONSUMER = "restart_consumer"
    JOIN_CONSUMER = "join_consumer"
    KILL_ENGINE = "kill_engine"
    PAUSE_ENGINE = "pause_engine"
    KILL_BROKER = "kill_broker"
    PAUSE_BROKER = "pause_broker"
    FILL_DISK = "fill_disk"
    ORPHAN_INSERT = "orphan_insert"
    """A consumer is killed while its insert is on the way, which arrives when the partition has moved."""
    HAND_OVER_INSERT = "hand_over_insert"
    """The same with SIGTERM: the partition moves at once, and the insert arrives about then."""


AnyKind = Kind | fault_proxy.Kind


@dataclass(frozen=True, slots=True)
class Shape:
    """How a kind of fault looks.

    Attributes:
        weight: how often it is in one deck of faults.
        lasts: seconds, from and to.
        spares: seconds after its end before the same target is hit again, so that it can come back at all.
        targets: one of these.
    """

    weight: int
    lasts: tuple[float, float]
    spares: float
    targets: tuple[str, ...]


_REQUESTS: Final = ("insert",) * 7 + ("ledger", "any", "any")

SHAPES: Final[dict[AnyKind, Shape]] = {
    Kind.KILL_CONSUMER: Shape(2, (0.1, 4), 5, CONSUMERS),
    Kind.STOP_CONSUMER: Shape(2, (SESSION_SECONDS + 1.5, SESSION_SECONDS + 6), 4, CONSUMERS),
    Kind.RESTART_CONSUMER: Shape(1, (0.1, 2), 10, CONSUMERS),
    Kind.JOIN_CONSUMER: Shape(1, (4, 10), 8, (EXTRA_CONSUMER,)),
    Kind.KILL_ENGINE: Shape(2, (0.1, 4), 5, (ENGINE,)),
    Kind.PAUSE_ENGINE: Shape(1, (1, 12), 3, (ENGINE,)),
    Kind.KILL_BROKER: Shape(1, (0.1, 2), 12, (BROKER,)),
    Kind.PAUSE_BROKER: Shape(1, (1, 9), 5, (BROKER,)),
    Kind.FILL_DISK: Shape(1, (2, 6), 3, (DISK,)),
    Kind.ORPHAN_INSERT: Shape(2, (SESSION_SECONDS, SESSION_SECONDS + 14), 5, CONSUMERS),
    Kind.HAND_OVER_INSERT: Shape(1, (0.2, 6), 8, CONSUMERS),
    fault_proxy.Kind.CUT_REQUEST: Shape(1, (0, 0), 0, _REQUESTS),
    fault_proxy.Kind.CUT_RUNNING: Shape(2, (0, 0.05), 0, _REQUESTS),
    fault_proxy.Kind.LOSE_ANSWER: Shape(2, (0, 0), 0, _REQUESTS),
    fault_proxy.Kind.DELAY_ANSWER: Shape(1, (1, 14), 0, _REQUESTS),
    fault_proxy.Kind.DELAY_REQUEST: Shape(1, (1, 14), 0, _REQUESTS),
    fault_proxy.Kind.LATE_REQUEST: Shape(2, (1, 25), 0, _REQUESTS),
}

ABOUT: Final = {"insert": ("INSERT", "audit_events"), "ledger": ("INSERT", "audit_ranges"), "any": ()}
"""Words that the statement of a request holds, by target."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: it begins `at_seconds` after the producers do."""

    number: int
    at_seconds: float
    kind: AnyKind
    target: str
    lasting_seconds: float

    def __str__(self) -> str:
        return (
            f"{self.number:4d}  {self.at_seconds:7.1f} s  {self.kind:<16}  {self.target:<14}  "
            f"{self.lasting_seconds:5.1f} s"
        )


def plan(seed: int, count: int, gap_seconds: float, kinds: list[AnyKind]) -> list[Fault]:
    """Return `count` faults, on average about `gap_seconds` apart; equal arguments give equal faults.

    Every kind comes once in each deck before any comes again, so a short run sees many kinds. A target that
    is still hit by one fault is not hit by another; different targets are, at the same time.
    """
    chance = random.Random(seed)
    free_at: dict[str, float] = {}
    faults: list[Fault] = []
    at = 2.0
    decks = _decks(chance, kinds)
    while len(faults) < count:
        kind = next(decks)
        shape = SHAPES[kind]
        at += chance.uniform(0.1, 2 * gap_seconds)
        target = chance.choice(shape.targets)
        at = max(at, free_at.get(target, 0.0))
        lasting = chance.uniform(*shape.lasts)
        if not isinstance(kind, fault_proxy.Kind):
            free_at[target] = at + lasting + shape.spares
        faults.append(Fault(len(faults) + 1, round(at, 2), kind, target, round(lasting, 2)))
    return faults


def _decks(chance: random.Random, kinds: list[AnyKind]) -> Iterator[AnyKind]:
    once = list(kinds)
    more = [kind for kind in once for _ in range(SHAPES[kind].weight - 1)]
    while True:
        for part in (once, more):
            chance.shuffle(part)
            yield from part

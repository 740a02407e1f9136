"""The consumer on the models: every seed ends with every message accounted for, exactly once."""

from __future__ import annotations

import pytest

from simulated.seeds import command, run_seeds
from simulated.weather import FOCUSES
from simulated.world import Outcome, run_seed

SEEDS = 2_000
CHUNK = 100
FAST_SEEDS = 100
CHUNKS = [
    pytest.param(first, marks=() if first < FAST_SEEDS else pytest.mark.many)
    for first in range(0, SEEDS, CHUNK)
]

ONCE_FAILED: dict[str, tuple[int, str | None]] = {
    "ClickHouse's clock was set forward": (0, "clocks"),
    "a process stood still while it waited for ClickHouse's clock": (1386, None),
    "a batch without accepted messages": (171, None),
    "a gap and the partition's end came in one poll": (31, None),
    "an insert began after another catalog's owner had read back": (7, "handover"),
    "memory was full of nothing": (46, None),
    "a stopped process recorded its range after its next owner": (332, "clocks"),
    "another stopped process recorded its range too late": (10668, None),
    "messages came between two questions of a start": (13651, None),
    "a stop ended a batch that was not announced": (25, None),
}
"""Seeds that found a fault of the protocol, which has been mended; most faults are breakages now, too."""


@pytest.mark.parametrize("first", CHUNKS)
def test_seeds(first: int) -> None:
    outcomes = run_seeds(range(first, first + CHUNK))
    # Seeds in which nothing happens would prove nothing.
    assert sum(each.kills for each in outcomes) > CHUNK / 4
    assert sum(each.tally.accepted for each in outcomes) > CHUNK * 10
    assert sum(each.tally.duplicates for each in outcomes) > CHUNK / 2
    assert sum(each.tally.rejected for each in outcomes) > CHUNK / 2
    assert sum(each.refused for each in outcomes) > CHUNK / 20
    assert sum(each.turned_away for each in outcomes) > CHUNK / 20


@pytest.mark.parametrize("focus", FOCUSES)
def test_seeds_of_one_kind(focus: str) -> None:
    run_seeds(range(20), focus)


@pytest.mark.parametrize("name", ONCE_FAILED)
def test_what_once_failed(name: str) -> None:
    seed, focus = ONCE_FAILED[name]
    run_seeds([seed], focus)


def test_a_seed_takes_the_same_course_every_time() -> None:
    def traced(seed: int) -> tuple[list[str], Outcome]:
        lines: list[str] = []
        outcome = run_seed(seed, trace=lambda seconds, who, what: lines.append(f"{seconds} {who} {what}"))
        return lines, outcome

    for seed in (7, 8):
        assert traced(seed) == traced(seed)
    assert traced(7) != traced(8)


def test_a_failing_seed_says_how_to_replay_it() -> None:
    assert command(7, "engine") == ".venv/bin/python tests/simulation/replay.py 7 --focus engine"

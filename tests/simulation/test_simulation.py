"""The consumer on the models: every seed ends with every message accounted for, exactly once."""

from __future__ import annotations

import pytest

from simulated.seeds import command, run_seeds
from simulated.weather import FOCUSES
from simulated.world import Outcome, run_seed

SEEDS = 2_000
CHUNK = 100


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_seeds(first: int) -> None:
    outcomes = run_seeds(range(first, first + CHUNK))
    # Seeds in which nothing happens would prove nothing.
    assert sum(each.kills for each in outcomes) > CHUNK / 4
    assert sum(each.tally.accepted for each in outcomes) > CHUNK * 10
    assert sum(each.tally.duplicates for each in outcomes) > CHUNK / 2
    assert sum(each.tally.rejected for each in outcomes) > CHUNK / 2


@pytest.mark.parametrize("focus", FOCUSES)
def test_seeds_of_one_kind(focus: str) -> None:
    run_seeds(range(30), focus)


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

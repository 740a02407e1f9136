"""Many seeds of the simulator: the consumer on models of Kafka and ClickHouse. docs/simulation.md.

Runs 100,000 seeds, or as many as an hour allows, with one process for each core; then each deliberate
breakage of the protocol until it is found. A seed that fails is printed with the command that replays it.
``--first`` starts at another seed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from itertools import islice
from multiprocessing import get_context
from typing import Final

import pytest
from harness import Bench

from simulated.breakages import BREAKAGES
from simulated.seeds import SeedFailed, first_failure, run_seeds

SEEDS: Final = 100_000
SECONDS: Final = 3_600.0
QUICK_SEEDS: Final = 2_000
QUICK_SECONDS: Final = 25.0
CHUNK: Final = 50
FAILURES_MAX: Final = 10
UNDER_WAY: Final = 4
"""Chunks that the processes have at a time."""


def run_chunk(first: int) -> tuple[int, Counter[str], list[str]]:
    """Run a chunk of seeds and return how many ran, what came of their messages, and what failed."""
    counts, failures = Counter[str](), list[str]()
    for seed in range(first, first + CHUNK):
        try:
            [outcome] = run_seeds([seed])
        except SeedFailed as failed:
            failures.append(str(failed))
            continue
        counts.update(asdict(outcome.tally))
        counts.update(kills=outcome.kills, starts=outcome.starts, seconds=int(outcome.simulated_seconds))
    return CHUNK, counts, failures


def find_breakage(name: str) -> tuple[str, int | None]:
    """Return the first seed that finds a breakage."""
    breakage = BREAKAGES[name]
    with pytest.MonkeyPatch.context() as patch:
        breakage.apply(patch)
        found = first_failure(breakage.seeds, breakage.focus)
    return name, None if found is None else found[0]


def run_all(
    pool: ProcessPoolExecutor, first: int, seeds: int, seconds: float
) -> tuple[int, Counter[str], list[str]]:
    """Run seeds in chunks until there are enough, the time is over or too many failed."""
    ran, counts, failures = 0, Counter[str](), list[str]()
    end = time.monotonic() + seconds
    starts = iter(range(first, first + seeds, CHUNK))
    under_way = {pool.submit(run_chunk, start) for start in islice(starts, UNDER_WAY)}
    while under_way:
        done = next(as_completed(under_way))
        under_way.discard(done)
        some, found, failed = done.result()
        ran, counts, failures = ran + some, counts + found, failures + failed
        for each in failed:
            print(each, flush=True)
        if time.monotonic() < end and len(failures) < FAILURES_MAX:
            under_way |= {pool.submit(run_chunk, start) for start in islice(starts, 1)}
    return ran, counts, failures


def main() -> None:
    """Run the bench."""

    def add_options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--first", type=int, default=0, help="the first seed")

    bench = Bench("Many seeds of the simulator", add_options)
    seeds, seconds = (QUICK_SEEDS, QUICK_SECONDS) if bench.quick else (SEEDS, SECONDS)
    began = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        ran, counts, failures = run_all(pool, bench.options.first, seeds, seconds)
        took = time.monotonic() - began
        found = dict(pool.map(find_breakage, BREAKAGES))
    bench.row("seeds", "simulated hours", "kills", "accepted", "rejected", "duplicates", "absent", "failed")
    hours = counts["seconds"] / 3_600
    bench.row(
        f"{ran:,}",
        f"{hours:,.0f}",
        *(f"{counts[name]:,}" for name in ("kills", "accepted", "rejected", "duplicates", "absent")),
        f"{len(failures)}",
    )
    for name, seed in found.items():
        print(f"breakage: {name:36} {'not found' if seed is None else f'found by seed {seed}'}")
    for name in ("accepted", "rejected", "duplicates", "absent", "lost", "kills", "starts"):
        bench.figure(name, counts[name])
    bench.figure("simulated_hours", hours)
    bench.figure("seeds_per_second", ran / took)
    missed = [name for name, seed in found.items() if seed is None]
    bench.bar("seeds that failed", len(failures), at_most=0)
    bench.bar("seeds run", ran, at_least=500 if bench.quick else 50_000)
    bench.bar("breakages found", len(found) - len(missed), at_least=len(found))
    bench.finish()


if __name__ == "__main__":
    main()

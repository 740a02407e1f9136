"""Fuzzing the columnar decoder: random schemas and events, mutated; every verdict and value compared.

Each seed is one batch (`tests/kit/decoding_trial.py`, every fourth one `tests/kit/event_trial.py`). The
batches run in a process of their own, so that a crash of the interpreter is a finding like any other. A seed
that fails is printed with the command that replays it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import time
import traceback
import warnings
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from harness import Bench

from kit.decoding_trial import decoding_trial
from kit.event_trial import event_trial

BATCHES = 200_000
QUICK_SECONDS = 30
RANGE = 1_000
FAILURES_SHOWN = 10
SLOWEST_MILLIS = 2_000
PEAK_MEGABYTES = 600


def trial(seed: int) -> None:
    """Decode the batch of one seed: one in four is of events, all others have a mutation."""
    if seed % 4 == 0:
        event_trial(seed)
    else:
        decoding_trial(seed, mutations=1 + seed % 3)


def run_range(first: int, last: int, at: Synchronized[int], found: Any) -> None:
    """Try the seeds from `first` to before `last`; say where we are, and at the end what was found."""
    warnings.simplefilter("error")
    failed: list[int] = []
    slowest = 0.0
    for seed in range(first, last):
        at.value = seed
        started = time.process_time()
        try:
            trial(seed)
        except Exception:
            traceback.print_exc()
            failed.append(seed)
        slowest = max(slowest, time.process_time() - started)
    found.send((failed, slowest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


class Fuzzing:
    """What was found so far."""

    def __init__(self) -> None:
        self.done = 0
        self.failed: list[int] = []
        self.slowest_seconds = 0.0
        self.peak_megabytes = 0.0

    def run(self, first: int, count: int) -> None:
        """Try a range of seeds in a new process; a crash counts for the seed it came at."""
        context = multiprocessing.get_context("spawn")
        at = context.Value("q", first)
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=run_range, args=(first, first + count, at, theirs), daemon=True)
        child.start()
        theirs.close()
        try:
            failed, slowest, peak = ours.recv()
        except EOFError:
            child.join()
            print(f"the process died (exit code {child.exitcode}) at seed {at.value}")
            failed, slowest, peak = [at.value], 0.0, 0.0
        child.join()
        self.done += count
        self.failed += failed
        self.slowest_seconds = max(self.slowest_seconds, slowest)
        self.peak_megabytes = max(self.peak_megabytes, peak)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, help="replay the batch of one seed")
    parser.add_argument("--first-seed", type=int, help="start here instead of at random")
    parser.add_argument("--batches", type=int, default=BATCHES, help=f"how many (default {BATCHES:,})")


def main() -> None:
    bench = Bench("Fuzz the columnar decoder.", add_options)
    if bench.options.seed is not None:
        trial(bench.options.seed)
        print(f"seed {bench.options.seed}: no difference")
        return
    first = bench.options.first_seed
    if first is None:
        first = random.SystemRandom().randrange(1 << 40)
    print(f"seeds from {first}", flush=True)
    fuzzing, stop = Fuzzing(), time.monotonic() + QUICK_SECONDS
    while fuzzing.done < bench.options.batches and not (bench.quick and time.monotonic() > stop):
        fuzzing.run(first + fuzzing.done, min(RANGE, bench.options.batches - fuzzing.done))
        if fuzzing.done % 20_000 == 0:
            print(f"{fuzzing.done:,} batches, {len(fuzzing.failed)} failed", flush=True)
    for seed in fuzzing.failed[:FAILURES_SHOWN]:
        print(f"seed {seed} failed; replay it with: scripts/bench fuzz_decode --seed {seed}")
    bench.row("batches", "failed", "slowest batch", "peak memory")
    peak = f"{fuzzing.peak_megabytes:,.0f} MB"
    bench.row(f"{fuzzing.done:,}", f"{len(fuzzing.failed)}", f"{fuzzing.slowest_seconds * 1e3:,.0f} ms", peak)
    bench.figure("first_seed", first)
    bench.figure("batches", fuzzing.done)
    bench.bar("failed batches", len(fuzzing.failed), at_most=0)
    bench.bar("slowest batch, ms of CPU", fuzzing.slowest_seconds * 1e3, at_most=SLOWEST_MILLIS)
    bench.bar("peak memory, MB", fuzzing.peak_megabytes, at_most=PEAK_MEGABYTES)
    bench.finish()


if __name__ == "__main__":
    main()

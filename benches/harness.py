"""What every bench shares: subjects measured in turns, a table, and one JSON line with every figure.

Subjects of one comparison take turns within one run, so that a busy machine slows all of them; their
figures wobble from run to run, the ratios much less. The last line of the output is one JSON object with
every figure and, for every bar, its target, the figure and whether it holds. A missed bar makes the exit
status 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a subject was in its best round: per second of wall time and of this process's CPU time."""

    per_second: float
    per_cpu_second: float


class Bench:
    """One run of one bench.

    Attributes:
        quick: whether to end within 50 seconds.
        options: the bench's own options.

    Args:
        description: for ``--help``.
        add_options: adds the bench's own options to the parser.
    """

    def __init__(
        self, description: str, add_options: Callable[[argparse.ArgumentParser], object] | None = None
    ) -> None:
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--quick", action="store_true", help="end within 50 seconds")
        if add_options:
            add_options(parser)
        self.options = parser.parse_args()
        self.quick: bool = self.options.quick
        self._figures: dict[str, float] = {}
        self._bars: dict[str, dict[str, float | bool]] = {}
        self._rows: list[tuple[str, ...]] = []

    def compare(self, subjects: Mapping[str, Callable[[], int]], *, seconds: float) -> dict[str, Speed]:
        """Call the subjects in turns for some seconds in all, at least twice each.

        Each call returns how many events it handled. Calls before the first turn warm up, uncounted.
        """
        for run in subjects.values():
            run()
        best: dict[str, Speed] = {}
        stop = time.perf_counter() + seconds
        turns = 0
        while turns < 2 or time.perf_counter() < stop:
            turns += 1
            for name, run in subjects.items():
                found, known = _timed(run), best.get(name, Speed(0, 0))
                best[name] = Speed(
                    max(found.per_second, known.per_second), max(found.per_cpu_second, known.per_cpu_second)
                )
        return best

    def figure(self, name: str, value: float) -> None:
        """Keep a figure for the JSON line."""
        self._figures[name] = value if isinstance(value, int) else float(f"{value:.5g}")

    def row(self, *cells: str) -> None:
        """Add a row to the table; the first one is its head."""
        self._rows.append(cells)

    def bar(
        self, name: str, figure: float, *, at_least: float | None = None, at_most: float | None = None
    ) -> None:
        """State a bar and whether the figure reaches it."""
        holds = (at_least is None or figure >= at_least) and (at_most is None or figure <= at_most)
        target = at_least if at_least is not None else at_most
        assert target is not None
        self._bars[name] = {"target": target, "figure": float(f"{figure:.5g}"), "holds": holds}

    def finish(self) -> NoReturn:
        """Print everything and end the process."""
        _print_table(self._rows)
        for name, bar in self._bars.items():
            print(
                f"{'holds ' if bar['holds'] else 'MISSED'}  {name}: {bar['figure']:g}, bar {bar['target']:g}"
            )
        print(json.dumps({"quick": self.quick, "figures": self._figures, "bars": self._bars}), flush=True)
        sys.exit(0 if all(bar["holds"] for bar in self._bars.values()) else 1)


def _timed(run: Callable[[], int]) -> Speed:
    wall, cpu = time.perf_counter(), time.process_time()
    count = run()
    return Speed(count / (time.perf_counter() - wall), count / max(time.process_time() - cpu, 1e-9))


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        first, *others = (
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]))

"""Replays a seed and prints every step: `python tests/simulation/replay.py SEED [--focus NAME] [--quiet]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulated.quiet_logs import silent_logs
from simulated.weather import FOCUSES
from simulated.world import run_seed


def main() -> int:
    """Run the seed and say what became of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--focus", choices=FOCUSES, help="weather of one kind")
    parser.add_argument("--quiet", action="store_true", help="only the end, not every step")
    options = parser.parse_args()

    def show(seconds: float, who: str, what: str) -> None:
        print(f"{seconds:8.3f}  {who:24} {what}")

    with silent_logs():
        try:
            print(run_seed(options.seed, options.focus, None if options.quiet else show))
        except Exception as error:
            print(f"seed {options.seed}: {type(error).__name__}: {error}")
            if not isinstance(error, AssertionError):
                raise
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

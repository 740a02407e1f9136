"""Running many seeds and saying of a failing one how to see it again."""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from simulated.kernel import Hung
from simulated.quiet_logs import silent_logs
from simulated.world import Outcome, Violation, run_seed


class SeedFailed(AssertionError):
    """A seed found something; the message has the command that replays it, with every step."""


def command(seed: int, focus: str | None = None) -> str:
    """Return the command that replays a seed."""
    kind = f" --focus {quote(focus)}" if focus else ""
    return f".venv/bin/python tests/simulation/replay.py {seed}{kind}"


def run_seeds(seeds: Iterable[int], focus: str | None = None) -> list[Outcome]:
    """Run seeds until one of them fails.

    Raises:
        SeedFailed: one found a violation, did not catch up, or raised something else.
    """
    outcomes: list[Outcome] = []
    with silent_logs():
        for seed in seeds:
            try:
                outcomes.append(run_seed(seed, focus))
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise SeedFailed(f"seed {seed}: {what}\nreplay it with: {command(seed, focus)}") from (
                    None if isinstance(error, Violation | Hung) else error
                )
    return outcomes


def first_failure(seeds: Iterable[int], focus: str | None = None) -> tuple[int, str] | None:
    """Return the first seed that fails, and how; None if none does."""
    for seed in seeds:
        try:
            run_seeds([seed], focus)
        except SeedFailed as failed:
            return seed, str(failed)
    return None

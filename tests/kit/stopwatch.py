"""How long something took, on a machine that may have been busy with other things meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

_PRESSURE: Final = Path("/proc/pressure/cpu")
STALLED_SHARE_MAX: Final = 0.75


class Stopwatch:
    """Measures from its making on.

    For promises of the kind "within five seconds", which hold for a machine with a processor to spare. Tests
    run beside others, so the time in which anybody had to wait for a processor (Linux's pressure stall
    information) is taken off, but never more than three quarters of the whole.
    """

    def __init__(self) -> None:
        self._started, self._stalled = _now()

    @property
    def seconds(self) -> float:
        """How long it took so far, at least; the whole time where the kernel does not count stalls."""
        now, stalled = _now()
        whole = now - self._started
        return whole - min(stalled - self._stalled, whole * STALLED_SHARE_MAX)


def _now() -> tuple[float, float]:
    """Return the time, and the stalls so far, both in seconds."""
    try:
        some = _PRESSURE.read_text().splitlines()[0]
    except OSError:
        return time.monotonic(), 0.0
    return time.monotonic(), int(some.rpartition("total=")[2]) / 1e6

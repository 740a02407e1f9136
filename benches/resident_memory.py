"""How much memory a bench's child has, all the time."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from process_tree import command_pids

from auditlog_local.child import Child

_LOOK_SECONDS: Final = 0.2


class ResidentMemory:
    """Looks at a process's resident memory in a thread of its own; `samples` are (monotonic time, bytes)."""

    def __init__(self, child: Child) -> None:
        self.samples: list[tuple[float, int]] = []
        self._child = child
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(5)

    def peak(self, since: float, until: float) -> int:
        """Return the most there was between two times."""
        return max((size for at, size in self.samples if since <= at <= until), default=0)

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            with suppress(OSError):
                self.samples.append((time.monotonic(), _resident_bytes(self._child)))


def _resident_bytes(child: Child) -> int:
    total = 0
    for pid in command_pids(child):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total

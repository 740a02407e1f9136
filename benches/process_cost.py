"""What a group of processes has cost so far, from /proc (Linux)."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
# Positions in /proc/PID/stat behind the command's closing bracket; see proc_pid_stat(5).
_GROUP: Final = 2
_USER_SYSTEM_AND_REAPED: Final = slice(11, 15)


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor time, user and system, of all processes of a group; the largest peak of resident memory."""

    cpu_seconds: float
    peak_rss_bytes: int


def group_cost(group: int) -> Cost:
    """Return the cost of the processes whose process group is `group`, children that have ended included."""
    ticks, peak_rss_bytes = 0, 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[_GROUP]) == group:
                ticks += sum(map(int, fields[_USER_SYSTEM_AND_REAPED]))
                peak_rss_bytes = max(peak_rss_bytes, _peak_rss_bytes(process))
    return Cost(ticks / _TICKS_PER_SECOND, peak_rss_bytes)


def _peak_rss_bytes(process: Path) -> int:
    for line in (process / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0

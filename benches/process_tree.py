"""The processes behind a bench's children."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from auditlog_local.child import Child


def command_pids(child: Child) -> list[int]:
    """Return what runs on a child's leash, not the leash: that must stay able to end it."""
    with suppress(OSError):
        found = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        return [int(pid) for pid in found]
    return []

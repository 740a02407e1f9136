"""Room on the disk: what is kept free while the server runs, and what it waits for before it starts."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

KEEP_FREE_BYTES: Final = 128 << 20
"""The engine begins no insert, merge or mutation that would leave less than this: error 243 instead."""

START_FREE_BYTES: Final = 16 << 20
"""Less than this is free: the server does not start, since the engine writes while it opens."""

_LOOK_SECONDS: Final = 0.5


def wait_for_space(directory: Path, bytes_min: int = START_FREE_BYTES) -> None:
    """Return when so much is free where `directory` is or will be; says once on stderr that it waits."""
    directory = directory.resolve()
    while not directory.exists():
        directory = directory.parent
    said = False
    while (free := free_bytes(directory)) < bytes_min:
        if not said:
            sys.stderr.write(
                f"clickhouse: {free:,} bytes are free on the disk of {directory}; "
                f"waiting for {bytes_min:,} before the engine is opened\n"
            )
            sys.stderr.flush()
            said = True
        time.sleep(_LOOK_SECONDS)


def free_bytes(directory: Path) -> int:
    """Return how much is free where `directory` is."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize

"""How a process that only consumes uses memory: it keeps what it has and seldom looks for garbage."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Final

import pyarrow as pa

# From glibc's malloc.h; see mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2
_NEVER_BYTES: Final = 1 << 30


def keep_memory() -> None:
    """Set up this process for large buffers that come and go by the second.

    Buffers are given back to the allocator, not to the system, which would hand out the same pages zeroed
    again a moment later. Threads share a few arenas, so that what one of them frees is of use to all. And
    Python's search for cyclic garbage, of which a consumer makes hardly any, runs seldom. Where the C library
    has no `mallopt` its part is left out.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _NEVER_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _NEVER_BYTES)

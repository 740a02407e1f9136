"""A request's data as something the engine can read: a pipe that a thread fills."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from auditlog_local.clickhouse.body import Body

PIPE_BYTES = 1 << 20


def widen_pipe(descriptor: int) -> None:
    """Give a pipe a buffer of 1 MiB where the system lets one ask."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


@contextmanager
def feed(body: Body, skip: int) -> Iterator[str]:
    """A path that reads as the body from ``skip`` on, once, while inside.

    The engine reads it with ``FROM INFILE`` or ``file()``. chDB's own `send_insert` is not used: it says
    "stored" when the last step of the insert fails (a violated constraint, too many partitions).
    """
    read_fd, write_fd = os.pipe()
    widen_pipe(write_fd)
    thread = threading.Thread(target=_fill, args=(write_fd, body, skip), name="feed")
    thread.start()
    try:
        yield f"/dev/fd/{read_fd}"
    finally:
        # An engine that stopped reading early leaves the thread writing; this ends it with EPIPE.
        os.close(read_fd)
        thread.join()


def _fill(write_fd: int, body: Body, skip: int) -> None:
    try:
        for piece in body.pieces(skip):
            left = memoryview(piece)
            while left:
                left = left[os.write(write_fd, left) :]
    except BrokenPipeError:
        pass
    finally:
        os.close(write_fd)

"""A request's data as something the engine can read, and the pipe of its results."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from auditlog_local.clickhouse.body import Body

PIPE_BYTES = 1 << 20


def widen_pipe(descriptor: int) -> None:
    """Give a pipe a buffer of 1 MiB where the system lets one ask."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


@contextmanager
def feed(body: Body, skip: int) -> Iterator[str]:
    """A path that reads as the body from ``skip`` on, while inside.

    The engine reads it with ``FROM INFILE`` or ``file()``. chDB's own `send_insert` is not used: it says
    "stored" when the last step of the insert fails (a violated constraint, too many partitions). Nor is a
    pipe: the engine's reader of Arrow seeks, and where the data comes in pieces that fails with error 87.
    """
    with _file(body) as file:
        for piece in body.pieces(skip):
            file.write(piece)
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


def _file(body: Body) -> IO[bytes]:
    """A file without a name: in memory where the system has such, and the body is there too."""
    if body.in_memory and hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("body"), "w+b")
    return tempfile.TemporaryFile(prefix="feed-", dir=body.spool_dir)

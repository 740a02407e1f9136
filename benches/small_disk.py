"""A disk of the bench's own that can be made full: a tmpfs in a mount namespace, which needs no root.

`enter_own_mounts` runs the program again inside a user and mount namespace (`unshare` of util-linux, where
the system lets users have namespaces); the mount is seen by this process and its children only, and is gone
with the last of them. The disk becomes full by making it as small as what it holds, so filling it costs
neither time nor memory, or by a file that takes all that is left; who writes to it sees the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_INSIDE: Final = "BENCH_HAS_OWN_MOUNTS"
_UNSHARE: Final = ("unshare", "--user", "--map-root-user", "--mount")
_TRIES: Final = 50
_PAGE_BYTES: Final = 4096


def enter_own_mounts() -> str:
    """Replace this process by the same program with mounts of its own; do it before anything else.

    Returns:
        Inside: nothing. Where the system does not allow it: the reason.
    """
    if os.environ.pop(_INSIDE, ""):
        return ""
    try:
        trial = subprocess.run(
            [*_UNSHARE, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except OSError as error:
        return f"there is no unshare: {error.strerror}"
    if trial.returncode:
        return f"this system lets users mount nothing: {trial.stderr.strip()}"
    os.execvpe(_UNSHARE[0], [*_UNSHARE, sys.executable, *sys.argv], {**os.environ, _INSIDE: "yes"})
    raise AssertionError("execvpe does not return")


class SmallDisk:
    """A tmpfs at `path`, for a process that has mounts of its own.

    Args:
        path: an empty directory, made if it does not exist.
        bytes_max: its size when it is not full.
    """

    def __init__(self, path: Path, bytes_max: int) -> None:
        self.path = path
        self._bytes_max = bytes_max
        path.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={bytes_max}", "tmpfs", str(path))

    @property
    def used_bytes(self) -> int:
        """Return how much is stored on it."""
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    @contextmanager
    def full(self) -> Iterator[None]:
        """Make it full meanwhile: nothing can be written until something is removed.

        Raises:
            RuntimeError: so much is written all the time that its size could not be met.
        """
        self._fill()
        try:
            yield
        finally:
            _mount("-o", f"remount,size={self._bytes_max}", str(self.path))

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Make it full meanwhile by a file of zeros, as somebody else's data would."""
        filler = self.path / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, _PAGE_BYTES):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        try:
            yield
        finally:
            filler.unlink()

    def _fill(self) -> None:
        for _ in range(_TRIES):
            # Somebody may write between the two: it cannot be smaller than what it holds.
            with suppress(RuntimeError):
                return _mount("-o", f"remount,size={self.used_bytes}", str(self.path))
        raise RuntimeError(f"{self.path} could not be made full")

    def close(self) -> None:
        """Remove it, with everything on it, when nobody uses it."""
        subprocess.run(["umount", "--lazy", str(self.path)], capture_output=True, check=False)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"mount {' '.join(arguments)}: {done.stderr.strip()}")

"""One process per data directory: an exclusive `flock` that dies with the process."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from auditlog_schemas.errors import ConfigError


class DataDirLock:
    """Holds `<directory>/<name>` locked from construction to `release`; the file names the owner's pid.

    Raises:
        ConfigError: the directory cannot be made or written, or another process (named) holds the lock.
    """

    def __init__(self, directory: Path, name: str = "lock") -> None:
        self._path = directory / name
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(
                f"the data directory {directory} cannot be written ({error.strerror}): "
                "make it writable or choose another one"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise ConfigError(
                    f"the data directory {directory} cannot be locked: {error.strerror}"
                ) from error
            raise ConfigError(
                f"the data directory {directory} is in use by process {holder}: "
                "stop that process first, or choose another data directory"
            ) from error
        try:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            os.close(self._descriptor)
            raise ConfigError(
                f"the data directory {directory} cannot be written ({error.strerror}): "
                "free space or choose another one"
            ) from error

    def release(self) -> None:
        """Let the directory go; harmless when done twice."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> DataDirLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

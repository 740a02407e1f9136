"""One child process: started on a leash, with its log in a file, a readiness check and a bounded stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auditlog_schemas.errors import ConfigError, TerminalError

LOG_BYTES_MAX = 16 << 20
_TAIL_BYTES = 16 << 10


class ChildFailed(TerminalError):
    """A child did not become ready, or is kept down; the message ends with what its log ends with."""


@dataclass(frozen=True)
class ChildSpec:
    """How to run one child.

    Attributes:
        name: its name in messages, events and the log's file name.
        argv: the command.
        env: variables added to this process's environment.
        ready: asked until it says True; must return quickly and not raise.
        ready_timeout_seconds: how long it may take to become ready.
        stop_timeout_seconds: how long it may take to end after SIGTERM, before SIGKILL.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] = lambda: True
    ready_timeout_seconds: float = 120.0
    stop_timeout_seconds: float = 5.0


class Child:
    """A running child.

    Args:
        spec: what to run.
        log_dir: directory of its log `<name>.log`; one of over 16 MiB becomes `<name>.log.1` at a start.
    """

    def __init__(self, spec: ChildSpec, log_dir: Path) -> None:
        self.spec = spec
        self.log_path = log_dir / f"{spec.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0
        # Of the last attempt, whether it succeeded or not.
        self.started_at = 0.0

    def start(self) -> None:
        """Start the process; does not wait until it is ready.

        Raises:
            ConfigError: its log cannot be written.
        """
        self.started_at = time.monotonic()
        command = [sys.executable, "-m", "auditlog_local.leash"]
        command += ["--grace-seconds", str(self.spec.stop_timeout_seconds), "--", *self.spec.argv]
        try:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
                self.log_path.replace(self.log_path.with_suffix(".log.1"))
            log = self.log_path.open("ab")
            self._log_from = log.seek(0, os.SEEK_END)
        except OSError as error:
            raise ConfigError(f"cannot write the log {self.log_path}: {error.strerror}") from error
        self._let_go()
        with log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.spec.env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """The pid of the leash, which is also the process group; None when not running."""
        return self._process.pid if self._process is not None and self.exit_code() is None else None

    def exit_code(self) -> int | None:
        """The exit code of a process that has ended; None while it runs."""
        return None if self._process is None else self._process.poll()

    def wait_ready(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Return when the child is ready.

        Args:
            give_up: asked in between; True ends the wait early.

        Raises:
            ChildFailed: it ended instead, or was not ready in time.
        """
        deadline = time.monotonic() + self.spec.ready_timeout_seconds
        pause = 0.02
        while not self.spec.ready():
            if (code := self.exit_code()) is not None:
                raise ChildFailed(f"{self.spec.name} ended with exit code {code} at its start\n{self.tail()}")
            if give_up():
                return
            if time.monotonic() > deadline:
                raise ChildFailed(
                    f"{self.spec.name} was not ready within {self.spec.ready_timeout_seconds:g} s; "
                    f"see {self.log_path}\n{self.tail()}"
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    def tail(self, lines_max: int = 15) -> str:
        """The last lines that it wrote to its log since its last start, without the frames of Java."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(self._log_from, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        told = [line for line in lines if not line.startswith("\tat ")]
        return "\n".join(told[-lines_max:])

    def stop(self, timeout_seconds: float | None = None) -> None:
        """End the child and everything it started: SIGTERM, and SIGKILL after the timeout."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(self.spec.stop_timeout_seconds if timeout_seconds is None else timeout_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self._let_go()

    def _let_go(self) -> None:
        """Close our end of an ended process's leash."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """SIGKILL for the whole process group."""
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)

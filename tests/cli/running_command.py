"""`auditlog` as processes of their own, as a person runs it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from kit.servers import START_SECONDS_MAX, bound
from kit.stopwatch import Stopwatch

AUDITLOG = (sys.executable, "-m", "auditlog_cli")
VARIABLES = ("AUDITLOG_KAFKA", "AUDITLOG_CLICKHOUSE_URL", "AUDITLOG_CATALOG", "AUDITLOG_TOPIC", "COLUMNS")


def environment(data_dir: Path, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a person whose data directory is this one."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return kept | {"AUDITLOG_DATA_DIR": str(data_dir)} | dict(given or {})


class LongRunning:
    """A command that runs until it is interrupted; its stderr is collected."""

    def __init__(self, data_dir: Path, *arguments: str, **given: str) -> None:
        self.process = subprocess.Popen(
            bound(*AUDITLOG, *arguments),
            env=environment(data_dir, given),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._err: list[str] = []
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    @property
    def err(self) -> str:
        return "".join(self._err)

    def wait_for(self, text: str, seconds_max: float = START_SECONDS_MAX) -> None:
        """Return once the command has said this."""
        deadline = time.monotonic() + seconds_max
        while text not in self.err:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{text!r} did not come; the command said:\n{self.err}")
            time.sleep(0.05)

    def terminate(self) -> int:
        """Send SIGTERM, as a process manager does; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def interrupt(self) -> tuple[int, float]:
        """Press Ctrl-C; return the exit code and how long it took."""
        watch = Stopwatch()
        self.process.send_signal(signal.SIGINT)
        return self.ended(), watch.seconds

    def ended(self) -> int:
        """Wait until it has ended; return the exit code."""
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def _collect(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self._err.append(line)


def processes_of(data_dir: Path) -> list[int]:
    """The processes that name this directory in their command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if os.fsencode(data_dir) in text:
                found.append(int(entry.name))
    return found


def run_on_terminal(data_dir: Path, *arguments: str) -> str:
    """Run a command whose stdout and stderr are a terminal of 100 columns; return what it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*AUDITLOG, *arguments],
        env=environment(data_dir, {"TERM": "xterm-256color", "COLUMNS": "100"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # the terminal is closed when its last process has ended
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    process.wait(30)
    return shown.decode()


def without_colours(text: str) -> str:
    """The text without the colours and styles that rich adds."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)

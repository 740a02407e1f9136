"""`python -m auditlog_local.leash [--grace-seconds N] -- command...`: a command that dies with its parent.

The parent keeps the leash's standard input open as a pipe. When the parent dies, however it dies, the pipe
ends, and the leash ends the command: SIGTERM, and SIGKILL for the whole process group after the grace. Should
the leash itself be killed, Linux kills the command in its stead (PR_SET_PDEATHSIG). Grandchildren are covered
by the process group and, on Linux, when they have left it, by being handed to the leash as a subreaper.

The command gets `/dev/null` as its standard input, and the leash's output and exit code are the command's
(128 + n when signal n killed it). SIGTERM and SIGINT are passed on to the command. This process stays free of
threads and libraries, so that its one fork is harmless; PR_SET_PDEATHSIG is bound to the *thread* that forks,
which is why the program that wants children does not set it itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType

GRACE_SECONDS = 3.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"


_PASSED_ON = (signal.SIGTERM, signal.SIGINT)


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _exec(command: list[str], leash_pid: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != leash_pid:
        os._exit(1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
    os._exit(127)


class _Leash:
    """The waiting parent of the command."""

    def __init__(self, command_pid: int, grace_seconds: float) -> None:
        self._pid = command_pid
        self._grace_seconds = grace_seconds
        self._first_parent = os.getppid()
        self._wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in _PASSED_ON:
            signal.signal(number, self._pass_on)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def _reap(self) -> int | None:
        """The command's exit code once it has ended; orphans that came to us are reaped on the way."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return 1
            if pid == 0:
                return None
            if pid == self._pid:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code

    def run(self) -> int:
        """Wait for the command or for the parent's death; returns the exit code."""
        while (code := self._reap()) is None:
            # The pipe tells at once; the parent's pid covers a write end that somebody else still holds.
            ready, _, _ = select.select([0, self._wake_read], [], [], 1.0)
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            if (0 in ready and not os.read(0, 4096)) or os.getppid() != self._first_parent:
                code = self._end_command()
                break
        self._end_group()
        return code

    def _end_command(self) -> int:
        self._pass_on(signal.SIGTERM, None)
        deadline = time.monotonic() + self._grace_seconds
        while time.monotonic() < deadline:
            if (code := self._reap()) is not None:
                return code
            time.sleep(0.02)
        return 137

    def _end_group(self) -> None:
        """Kill what is left of the group and what was orphaned to us, but not this process."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for pid in _group_members(os.getpgrp()) - {os.getpid()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for _ in range(100):
            orphans = _children()
            if not orphans:
                return
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
            self._reap()


def _group_members(group: int) -> set[int]:
    if not _LINUX:
        os.killpg(group, signal.SIGKILL)
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.getpgid(int(entry.name)) == group:
                    found.add(int(entry.name))
    return found


def _children() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


def main() -> int:
    """Run the command on the leash; returns its exit code."""
    arguments = sys.argv[1:]
    grace_seconds = GRACE_SECONDS
    if arguments[:1] == ["--grace-seconds"]:
        grace_seconds = float(arguments[1])
        arguments = arguments[2:]
    if arguments[:1] != ["--"] or len(arguments) < 2:
        sys.stderr.write("usage: python -m auditlog_local.leash [--grace-seconds N] -- command...\n")
        return 2
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    leash_pid = os.getpid()
    # A signal that comes before there is a handler for it waits, instead of ending the leash.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    command_pid = os.fork()
    if command_pid == 0:
        _exec(arguments[1:], leash_pid)
    return _Leash(command_pid, grace_seconds).run()


if __name__ == "__main__":
    sys.exit(main())

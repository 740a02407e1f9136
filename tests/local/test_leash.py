"""No process outlives the one that started it, however that one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

LEASH = [sys.executable, "-m", "auditlog_local.leash"]

# A parent with two leashed commands; each writes its own pid and those of its children, one of which has
# left the session.
PARENT = """
import subprocess, sys, time
for name in ("a", "b"):
    subprocess.Popen([sys.executable, "-m", "auditlog_local.leash", "--grace-seconds", "1", "--",
                      sys.executable, sys.argv[1], sys.argv[2] + "/" + name], stdin=subprocess.PIPE)
time.sleep(600)
"""
COMMAND = """
import os, signal, subprocess, sys, time
if sys.argv[1].endswith("b"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
near = subprocess.Popen(["sleep", "600"])
far = subprocess.Popen(["sleep", "600"], start_new_session=True)
with open(sys.argv[1] + ".new", "w") as out:
    out.write(f"{os.getpid()} {os.getppid()} {near.pid} {far.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def family(tmp_path: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    (tmp_path / "command.py").write_text(COMMAND)
    arguments = [sys.executable, "-c", PARENT, str(tmp_path / "command.py"), str(tmp_path)]
    parent = subprocess.Popen(arguments)
    eventually(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    pids = [int(pid) for name in "ab" for pid in (tmp_path / name).read_text().split()]
    assert len(pids) == 8
    assert all(alive(pid) for pid in pids)
    return parent, pids


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killing_the_parent_ends_every_descendant(
    family: tuple[subprocess.Popen[bytes], list[int]], number: signal.Signals
) -> None:
    parent, pids = family
    parent.send_signal(number)
    parent.wait()
    eventually(lambda: not any(alive(pid) for pid in pids))


def test_killing_the_leash_kills_its_command(family: tuple[subprocess.Popen[bytes], list[int]]) -> None:
    parent, pids = family
    command_pid, leash_pid = pids[0], pids[1]
    os.kill(leash_pid, signal.SIGKILL)
    eventually(lambda: not alive(command_pid))
    os.kill(pids[2], signal.SIGKILL)
    os.kill(pids[3], signal.SIGKILL)
    parent.kill()
    parent.wait()
    eventually(lambda: not any(alive(pid) for pid in pids))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        [*LEASH, "--", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdin is not None
    code = process.wait(60)
    with process.stdin, process.stdout, process.stderr:
        return subprocess.CompletedProcess(command, code, process.stdout.read(), process.stderr.read())


def test_output_and_exit_code_are_the_commands() -> None:
    done = run("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert run("sh", "-c", "kill -9 $$").returncode == 137
    assert run("/no/such/command").returncode == 127
    assert run("cat").returncode == 0


def test_sigterm_is_passed_on() -> None:
    process = subprocess.Popen(
        [*LEASH, "--", "sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(10) == 5


def test_wrong_usage_is_said() -> None:
    done = subprocess.run([*LEASH, "sleep", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage" in done.stderr

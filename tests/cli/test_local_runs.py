"""What starts a stack of its own: `up` through a crash and Ctrl-C, and the demonstration."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cli.running_command import AUDITLOG, LongRunning, environment, processes_of
from kit.stopwatch import Stopwatch

pytestmark = [pytest.mark.integration, pytest.mark.long]


def consumers_of(data_dir: Path) -> list[int]:
    """The consumer processes themselves, not the leashes that hold them."""
    found = []
    for pid in processes_of(data_dir):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        if command.endswith(b"\0auditlog_cli\0consume\0") and b"leash" not in command:
            found.append(pid)
    return found


def test_up_restarts_a_crashed_consumer_and_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    data_dir = tmp_path / "stack"
    up = LongRunning(data_dir, "up", "--partitions", "2", "--consumers", "2")
    try:
        up.wait_for("AUDITLOG_CLICKHOUSE_URL=")
        assert "2 partitions" in up.err
        deadline = time.monotonic() + 120
        while len(consumers := consumers_of(data_dir)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(consumers[0], signal.SIGKILL)
        up.wait_for("crashed")
        up.wait_for("runs again")
    finally:
        code, seconds = up.interrupt()
    assert code == 0, up.err
    assert seconds < 10
    assert processes_of(data_dir) == []
    assert "goes on from here" in up.err


def test_the_demonstration_adds_up_and_cleans_up(tmp_path: Path) -> None:
    watch = Stopwatch()
    done = subprocess.run(
        [*AUDITLOG, "demo", "--events", "4000"],
        env={k: v for k, v in environment(tmp_path).items() if k != "AUDITLOG_DATA_DIR"}
        | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert watch.seconds < 60
    assert re.search(r"published +4,200 +4,000 events and 200 bad messages", done.stdout)
    assert re.search(r"stored +4,000\n", done.stdout)
    assert re.search(r"dead-lettered +200 +changes_missing 25, empty_message 25", done.stdout)
    assert re.search(r"add up +✓ +4,200 = 4,000 \+ 200", done.stdout)
    assert "created license" in done.stdout
    assert "demo --keep" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert processes_of(tmp_path) == []

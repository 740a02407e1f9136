"""What starts a stack of its own: `up` through crashes and Ctrl-C, and the demonstration."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from auditlog_local.running_stack import find_running
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


def wait_for_consumers(data_dir: Path, count: int) -> list[int]:
    deadline = time.monotonic() + 120
    while len(found := consumers_of(data_dir)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_up_restarts_a_crashed_consumer_and_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    data_dir = tmp_path / "stack"
    up = LongRunning(data_dir, "up", "--partitions", "2", "--consumers", "2")
    try:
        up.wait_for("AUDITLOG_CLICKHOUSE_URL=")
        assert "2 partitions" in up.err
        os.kill(wait_for_consumers(data_dir, 2)[0], signal.SIGKILL)
        up.wait_for("crashed")
        up.wait_for("runs again")
    finally:
        code, seconds = up.interrupt()
    assert code == 0, up.err
    assert seconds < 10
    assert processes_of(data_dir) == []
    assert "goes on from here" in up.err


def test_a_consumer_that_keeps_failing_is_kept_down_and_everything_else_goes_on(tmp_path: Path) -> None:
    data_dir, catalog = tmp_path / "stack", tmp_path / "more.toml"
    catalog.write_text("")
    up = LongRunning(data_dir, "up", "--partitions", "2", AUDITLOG_CATALOG=str(catalog))

    def auditlog(*arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*AUDITLOG, *arguments],
            env=environment(data_dir),
            input=input,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    try:
        up.wait_for("AUDITLOG_CLICKHOUSE_URL=")
        [consumer] = wait_for_consumers(data_dir, 1)
        catalog.write_text("[actions.broken\n")
        os.kill(consumer, signal.SIGKILL)
        up.wait_for("'a process that is kept down'", 300)
        assert consumers_of(data_dir) == []
        shown = re.search(r"curl -H 'Authorization: (Bearer \w+)' (http://\S+)", up.err)
        assert shown
        answer = httpx.get(shown[2], headers={"Authorization": shown[1]}, trust_env=False, timeout=60)
        assert (answer.status_code, answer.json()["events"]) == (200, [])
        example = auditlog("catalog", "show", "license_reset", "--example").stdout
        assert auditlog("publish", "-", input=example).stderr == "1 event published\n"
        assert auditlog("events", "--account", "acc_1").stderr == "account acc_1 has no events\n"
        doctor = auditlog("doctor", "--json")
        found = {one["name"]: one for one in map(json.loads, doctor.stdout.splitlines())}
        assert {"kafka", "clickhouse", "process consumer-1"} <= found.keys(), doctor.stderr
        assert (doctor.returncode, found["kafka"]["status"], found["clickhouse"]["status"]) == (1, "ok", "ok")
        assert re.search(
            r"kept down since .*: ended with exit code 2, \d times", found["process consumer-1"]["found"]
        )
        assert str(catalog) in found["process consumer-1"]["found"]
        assert str(data_dir / "logs" / "consumer-1.log") in found["process consumer-1"]["next"]
        running = find_running(data_dir)
        assert running is not None
        assert [down.name for down in running.kept_down] == ["consumer-1"]
        # Somebody else's consumer goes on where that one was.
        other = LongRunning(data_dir, "consume")
        try:
            deadline = time.monotonic() + 120
            while not auditlog("events", "--account", "acc_1", "--json").stdout:
                assert time.monotonic() < deadline, other.err
                time.sleep(0.3)
        finally:
            assert other.terminate() == 0
        assert up.process.poll() is None
    finally:
        code, seconds = up.interrupt()
    assert (code, up.err.count("is kept down, everything else goes on")) == (1, 1), up.err
    assert seconds < 10
    assert re.search(r"consumer-1 was kept down: ended with exit code 2, \d times in a row", up.err)
    assert str(catalog) in up.err
    assert processes_of(data_dir) == []


def test_the_demonstration_ends_when_its_consumer_is_kept_down(tmp_path: Path) -> None:
    data_dir, catalog = tmp_path / "stack", tmp_path / "more.toml"
    catalog.write_text("")
    demo = LongRunning(data_dir, "demo", "--events", "2000", AUDITLOG_CATALOG=str(catalog))
    try:
        [consumer] = wait_for_consumers(data_dir, 1)
        # It must not be done with everything before it is made to fail.
        os.kill(consumer, signal.SIGSTOP)
        demo.wait_for("published")
        catalog.write_text("[actions.broken\n")
        os.kill(consumer, signal.SIGKILL)
        demo.wait_for("auditlog: consumer-1 ended with exit code 2", 300)
        assert demo.ended() == 1, demo.err
    finally:
        if demo.process.poll() is None:
            demo.interrupt()
    assert str(catalog) in demo.err.splitlines()[-1]
    assert processes_of(data_dir) == []


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

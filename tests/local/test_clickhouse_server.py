"""The ClickHouse server as a process: locks, bounds, stops, crashes, what stays on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from auditlog_local.ports import free_ports
from kit.stopwatch import Stopwatch
from local.conftest import Start, command
from local.http_call import Answer, call, value

pytestmark = pytest.mark.integration


def in_background(url: str, sql: str) -> tuple[threading.Thread, list[Answer]]:
    found: list[Answer] = []
    thread = threading.Thread(target=lambda: found.append(call(url, sql)))
    thread.start()
    time.sleep(0.5)
    return thread, found


def test_data_and_users_outlive_a_stop_and_a_crash(start: Start) -> None:
    process, url = start()
    value(url, "CREATE DATABASE kept")
    url += "/kept"
    value(url, "CREATE TABLE t (o UInt64) ENGINE = MergeTree ORDER BY o SETTINGS fsync_after_insert = 1")
    value(url, "INSERT INTO t SELECT number FROM numbers(1000)")
    value(url, "CREATE USER reader IDENTIFIED BY 'secret' SETTINGS readonly = 1")
    value(url, "GRANT SELECT ON kept.* TO reader")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process, url = start()
    url += "/kept"
    assert value(url, "SELECT count() FROM t") == "1000"
    call(url, "1001\n", query="INSERT INTO t FORMAT CSV")
    process.kill()
    process.wait()
    process, url = start()
    url += "/kept"
    reader = url.replace("default:", "reader:secret")
    assert value(reader, "SELECT count() FROM t") == "1001"
    assert call(reader, "INSERT INTO t VALUES (1)").code == 497


def test_a_stop_waits_for_running_statements(start: Start) -> None:
    process, url = start()
    thread, found = in_background(url, "SELECT sleep(2), 'done'")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    thread.join()
    assert found[0].body == b"0\tdone\n"


def test_a_stop_kills_what_does_not_end(start: Start) -> None:
    process, url = start("--stop-timeout-seconds", "1")
    thread, _ = in_background(
        url, "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))"
    )
    watch = Stopwatch()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert watch.seconds < 5
    thread.join()


def test_what_does_not_fit_the_queue_is_refused(start: Start) -> None:
    _, url = start("--running-max", "1", "--waiting-max", "1")
    running, first = in_background(url, "SELECT sleep(2)")
    waiting, second = in_background(url, "SELECT 2")
    refused = call(url, "SELECT 3")
    assert (refused.code, refused.status) == (202, 500)
    assert "at most 1" in refused.text
    running.join()
    waiting.join()
    assert (first[0].status, second[0].body) == (200, b"2\n")
    assert call(url, "SELECT 4").body == b"4\n"


def test_a_result_is_never_in_memory_whole(start: Start) -> None:
    process, url = start()
    assert call(url, "SELECT 1").status == 200
    before = resident_bytes(process.pid)
    # The engine's own buffers are small with these: four threads' worth of blocks of 65,000 rows are not.
    small = {"output_format_parallel_formatting": "0", "max_block_size": "8192"}
    answer = call(url, "SELECT number, repeat('x', 1000) FROM numbers(400000)", **small)
    assert len(answer.body) > 400_000_000
    assert resident_bytes(process.pid) - before < 150_000_000


def resident_bytes(pid: int) -> int:
    """The most memory the process had so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def refusal(data_dir: Path) -> str:
    (port,) = free_ports(1)
    done = subprocess.run(command(data_dir, port), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_two_servers_never_share_a_directory(start: Start, tmp_path: Path) -> None:
    process, _ = start()
    assert f"is in use by process {process.pid}" in refusal(tmp_path / "da ta'{x}?*")


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(tmp_path / "file" / "data")
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        assert "cannot be written" in refusal(tmp_path / "closed")


def test_a_taken_port_is_an_error(start: Start, tmp_path: Path) -> None:
    _, url = start()
    port = int(url.rpartition(":")[2])
    done = subprocess.run(
        command(tmp_path / "other", port), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "already in use" in done.stderr

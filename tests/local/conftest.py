"""What the tests of the local stack share."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auditlog_local.clickhouse_child import answers_ping
from auditlog_local.ports import free_ports
from auditlog_local.supervisor import ChildEvent, Supervisor
from local.http_call import value

Start = Callable[..., tuple[subprocess.Popen[str], str]]


def command(data_dir: Path, port: int, *options: str) -> list[str]:
    base = [sys.executable, "-m", "auditlog_local.clickhouse_server"]
    return [*base, "--data-dir", str(data_dir), "--port", str(port), *options]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server over tmp_path/data (whose name is awkward on purpose) and gives its URL."""
    running: list[subprocess.Popen[str]] = []

    def run(*options: str) -> tuple[subprocess.Popen[str], str]:
        (port,) = free_ports(1)
        process = subprocess.Popen(
            command(tmp_path / "da ta'{x}?*", port, *options), stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        url = f"http://default:@127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not answers_ping(f"http://127.0.0.1:{port}"):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process, url

    yield run
    for process in running:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.fixture
def table(fresh_database: str) -> str:
    value(
        fresh_database,
        "CREATE TABLE t (p UInt8, o UInt64, v String) ENGINE = MergeTree PARTITION BY p ORDER BY o "
        "SETTINGS non_replicated_deduplication_window = 100",
    )
    return fresh_database


@pytest.fixture
def events() -> list[ChildEvent]:
    """What the supervisor told."""
    return []


@pytest.fixture
def supervisor(tmp_path: Path, events: list[ChildEvent]) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "logs", events.append)
    yield made
    made.stop()

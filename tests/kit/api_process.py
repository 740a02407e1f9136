"""The API in a process of its own, as `auditlog api` runs it: to measure its memory and start it again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from kit.served_api import VIEWER_KEYS
from kit.servers import bound

START_SECONDS_MAX = 60


class ApiProcess:
    """Where it answers, and how much memory it has taken."""

    def __init__(self, url: str, pid: int) -> None:
        self.client = httpx.Client(base_url=url, trust_env=False, timeout=60)
        self._pid = pid

    def get(self, path: str, token: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers={"Authorization": f"Bearer {token}"} | headers)

    def first_line_of_tail(self, account: str, token: str, **headers: str) -> tuple[int, str]:
        """Begin to follow a log: its status, and its first id or its problem."""
        path = f"/v1/accounts/{account}/events/tail"
        sent = {"Authorization": f"Bearer {token}"} | headers
        with self.client.stream("GET", path, headers=sent) as answer:
            if answer.status_code != 200:
                return answer.status_code, answer.read().decode()
            return 200, next(line for line in answer.iter_lines() if line.startswith("id: "))[4:]

    def peak_bytes(self) -> int:
        """Return the most resident memory that it has ever had."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


@contextmanager
def api_process(database_url: str, log: Path) -> Iterator[ApiProcess]:
    """Serve a migrated database while inside; what the process says is appended to `log`."""
    environment = os.environ | {
        "AUDITLOG_CLICKHOUSE_URL": database_url,
        "AUDITLOG_KAFKA": "",
        "AUDITLOG_DATA_DIR": str(log.parent / "data"),
        "AUDITLOG_API_VIEWER_KEYS": str(VIEWER_KEYS).replace("'", '"'),
        "AUDITLOG_API_HEARTBEAT_SECONDS": "0.3",
        "AUDITLOG_API_TAIL_POLL_SECONDS": "0.1",
    }
    command = bound(sys.executable, "-m", "auditlog_cli", "api", "--port", "0")
    with log.open("ab") as out:
        began = out.tell()
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not (found := re.search(rb"the API is at (http://\S+)", log.read_bytes()[began:])):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        api = ApiProcess(found[1].decode(), process.pid)
        while not _is_live(api):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield api
        api.client.close()
    finally:
        process.terminate()
        process.wait(30)


def _is_live(api: ApiProcess) -> bool:
    try:
        return api.client.get("/livez").status_code == 200
    except httpx.HTTPError:
        return False

"""The ClickHouse HTTP server as a child process."""

from __future__ import annotations

import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from auditlog_local.child import ChildSpec


def answers_ping(url: str, timeout_seconds: float = 2.0) -> bool:
    """Whether a ClickHouse server answers `/ping` at this address (scheme, host and port are used)."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url.rstrip('/')}/ping", timeout=timeout_seconds) as answer:
            return bool(answer.read(16) == b"Ok.\n")
    except (OSError, ValueError, urllib.error.URLError):
        return False


def clickhouse_child(data_dir: Path, port: int, stop_timeout_seconds: float = 4.0) -> ChildSpec:
    """The local ClickHouse server over ``data_dir`` on a loopback port."""
    return ChildSpec(
        name="clickhouse",
        argv=(
            sys.executable, "-m", "auditlog_local.clickhouse_server",
            "--data-dir", str(data_dir), "--port", str(port),
            "--stop-timeout-seconds", str(max(1, int(stop_timeout_seconds) - 1)),
        ),
        ready=lambda: answers_ping(f"http://127.0.0.1:{port}"),
        stop_timeout_seconds=stop_timeout_seconds,
    )  # fmt: skip


def origin(url: str) -> str:
    """Scheme, host and port of a URL, without credentials and path."""
    parts = urllib.parse.urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or (8443 if parts.scheme == 'https' else 8123)}"

"""`auditlog api` in a process of its own, for benches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx
from servers import Servers

from auditlog_local.child import Child, ChildSpec
from auditlog_local.ports import free_ports
from auditlog_storage.connection import Connection

_READY_SECONDS: Final = 60


@contextmanager
def served(servers: Servers, connection: Connection) -> Iterator[str]:
    """Yield the address of an API that reads this database."""
    [port] = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    spec = ChildSpec(
        name="api",
        argv=(sys.executable, "-m", "auditlog_cli", "api", "--port", str(port)),
        env={"AUDITLOG_CLICKHOUSE_URL": connection.settings.url.get_secret_value()},
        ready=lambda: _answers(address),
        ready_timeout_seconds=_READY_SECONDS,
    )
    child = Child(spec, servers.directory)
    child.start()
    try:
        child.wait_ready()
        yield address
    finally:
        child.stop()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/livez", trust_env=False, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False

"""Servers and other processes of a test's or a module's own, to be stopped, killed and started again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from auditlog_local.child import Child, ChildSpec
from auditlog_local.clickhouse_child import clickhouse_child
from auditlog_local.kafka import kafka_child, remembered_node
from auditlog_local.ports import free_ports

START_SECONDS_MAX: Final = 240.0
"""For a server on a machine that is busy with other things; one that is idle takes five."""

_BOUND: Final = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


def bound(*command: str) -> list[str]:
    """Return a command that runs this one, which the kernel kills when the process that started it ends."""
    return [sys.executable, "-c", _BOUND, *command]


@contextmanager
def running(spec: ChildSpec, log_dir: Path) -> Iterator[Child]:
    """Run a server while inside; it may be killed and started again there."""
    child = Child(replace(spec, ready_timeout_seconds=START_SECONDS_MAX), log_dir)
    child.start()
    try:
        child.wait_ready()
        yield child
    finally:
        child.stop()


@contextmanager
def own_kafka(directory: Path) -> Iterator[tuple[Child, str]]:
    """Run a Kafka broker while inside; with `127.0.0.1:port`."""
    node = remembered_node(directory / "kafka")
    with running(kafka_child(directory / "kafka", node), directory) as child:
        yield child, node.bootstrap


@contextmanager
def own_clickhouse(directory: Path) -> Iterator[tuple[Child, str]]:
    """Run a ClickHouse HTTP server while inside; with `http://default:@127.0.0.1:port`."""
    (port,) = free_ports(1)
    with running(clickhouse_child(directory / "clickhouse", port), directory) as child:
        yield child, f"http://default:@127.0.0.1:{port}"

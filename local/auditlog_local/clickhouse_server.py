"""`python -m auditlog_local.clickhouse_server --data-dir D --port P`: ClickHouse's HTTP interface over chDB.

Listens on the loopback interface only. SIGTERM and SIGINT stop it: no new connections, running statements get
`--stop-timeout-seconds` to end and are killed then, and the engine is closed so that everything is on disk.
Exit codes: 0 stopped, 1 the data directory cannot be used or the engine does not open (one line on stderr),
3 a write of the engine failed (see `clickhouse.write_guard`). It waits to start while the disk is full.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import uvicorn
import uvloop

from auditlog_local.clickhouse.free_space import KEEP_FREE_BYTES, wait_for_space
from auditlog_local.data_dir_lock import DataDirLock
from auditlog_schemas.errors import AuditError, ConfigError

RUNNING_MAX = 32
_BROKEN_ON_PURPOSE = "ASGI callable returned without completing response."
WAITING_MAX = 128
STOP_TIMEOUT_SECONDS = 10
SPOOL_DIR = Path("tmp")


class _Server(uvicorn.Server):
    """Without uvicorn's own signal handling, which would end the process before the engine is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="auditlog_local.clickhouse_server", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--running-max", type=int, default=RUNNING_MAX)
    parser.add_argument("--waiting-max", type=int, default=WAITING_MAX)
    parser.add_argument("--keep-free-bytes", type=int, default=KEEP_FREE_BYTES)
    parser.add_argument("--stop-timeout-seconds", type=int, default=STOP_TIMEOUT_SECONDS)
    return parser.parse_args()


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    # Accepted sockets inherit it. asyncio sets it only where the protocol is named; without it every answer
    # of more than one piece waits for the client's delayed acknowledgement: 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error}): stop what does, or choose another"
        ) from error
    return listener


async def _serve(arguments: argparse.Namespace, listener: socket.socket) -> None:
    """Serve until told to stop, in the data directory as the current one."""
    # chDB takes a second to load and must not load when the directory turns out to be in use.
    from auditlog_local.clickhouse.access import AccessStore
    from auditlog_local.clickhouse.admission import Admission
    from auditlog_local.clickhouse.app import QueryEndpoint, make_app
    from auditlog_local.clickhouse.engine import Engine
    from auditlog_local.clickhouse.errors import EngineError
    from auditlog_local.clickhouse.write_guard import WriteGuard, mend_projections

    access = AccessStore(Path("access"), arguments.keep_free_bytes)
    try:
        engine = Engine(Path("data"), access.config_path)
    except EngineError as error:
        raise ConfigError(f"the ClickHouse engine does not open: {error.text}") from error
    pool = ThreadPoolExecutor(arguments.running_max * 2 + 2, thread_name_prefix="statement")
    admission = Admission(arguments.running_max, arguments.waiting_max)
    guard = WriteGuard(engine, arguments.keep_free_bytes)
    mend_projections(engine)
    endpoint = QueryEndpoint(engine, access, admission, pool, SPOOL_DIR, guard)
    server = _Server(
        uvicorn.Config(
            make_app(endpoint),
            log_level="warning",
            log_config=None,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=arguments.stop_timeout_seconds,
            lifespan="off",
            backlog=512,
        )
    )
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, setattr, server, "should_exit", True)
    try:
        await server.serve([listener])
    finally:
        await asyncio.to_thread(endpoint.cancel_all)
        pool.shutdown(wait=True)
        endpoint.sessions.drop_connections()
        guard.close()
        engine.close()


def main() -> int:
    """Run the server until it is told to stop; returns the exit code."""
    arguments = _arguments()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg != _BROKEN_ON_PURPOSE)
    try:
        wait_for_space(arguments.data_dir)
        with DataDirLock(arguments.data_dir), _listen(arguments.host, arguments.port) as listener:
            os.chdir(arguments.data_dir)
            shutil.rmtree(SPOOL_DIR, ignore_errors=True)
            SPOOL_DIR.mkdir()
            uvloop.run(_serve(arguments, listener))
    except (AuditError, OSError) as error:
        sys.stderr.write(f"clickhouse: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Serving the sample host in a thread, for as long as the demonstration runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette

from auditlog_schemas.errors import ConfigError

START_SECONDS_MAX: Final = 10.0
STOP_SECONDS_MAX: Final = 5.0


@contextmanager
def serving_host(app: Starlette, port: int) -> Iterator[str]:
    """Serve while inside; yield the URL.

    Raises:
        ConfigError: nothing can listen at the port.
    """
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=_run, args=(server,), name="sample-host", daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS_MAX
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise ConfigError(f"the sample host cannot listen at 127.0.0.1:{port}")
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS_MAX)


def _run(server: uvicorn.Server) -> None:
    try:
        server.run()
    except SystemExit:
        # So uvicorn says that the port is taken; `started` stays False.
        return

"""Serving the application: one process on one address, until it is told to stop."""

from __future__ import annotations

import resource
import signal
import socket
from typing import Final

import uvicorn
from fastapi import FastAPI

from auditlog_api.backend import Backend
from auditlog_api.protocol import SPARE, BoundedProtocol, Connections
from auditlog_api.settings import ApiSettings
from auditlog_schemas.errors import ConfigError

BACKLOG: Final = 512
OTHER_FILES: Final = 128
"""Open at the same time beside connections from outside: those to ClickHouse and Kafka, exports, logs."""
IDLE_SECONDS: Final = 65
"""How long a quiet connection is kept: longer than most proxies do, so that they close it first."""
STOP_SECONDS: Final = 3
"""What answers under way have before they are cut, when the process is told to stop."""


class Server(uvicorn.Server):
    """A server that ends what would go on for ever, before it waits for the rest."""

    def __init__(self, config: uvicorn.Config, backend: Backend) -> None:
        super().__init__(config)
        self._backend = backend
        self._connections = Connections(backend.settings.connections_max)
        self.server_state = self._connections

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections, twice a second."""
        if counter % 5 == 0:
            self._connections.look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._backend.stopping.set()
        await super().shutdown(sockets)


def listening(host: str, port: int, share_port: bool = False) -> socket.socket:
    """Return a socket that is bound to an address.

    Args:
        host, port: the address; port 0 is any free one.
        share_port: whether other processes that say so too may serve the same port: the kernel hands each
            connection to one of them.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if share_port:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"AUDITLOG_API_HOST, AUDITLOG_API_PORT: cannot listen at {host}:{port}: {error.strerror or error}"
        ) from error
    return bound


def address_of(bound: socket.socket) -> str:
    """Return the URL of what listens at a socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allow_files(settings: ApiSettings) -> None:
    """Let this process have as many files open as its connections may need.

    Raises:
        ConfigError: it may not.
    """
    needed = settings.connections_max + SPARE + BACKLOG + settings.queries_max + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"AUDITLOG_API_CONNECTIONS_MAX: {settings.connections_max} connections need {needed} open files, "
            f"and this process may have {hard}; raise its limit (ulimit -n) or lower this"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def make_server(app: FastAPI, settings: ApiSettings) -> Server:
    """Return a server of the application; `run` it with a socket of `listening`."""
    config = uvicorn.Config(
        app,
        lifespan="on",
        # Its own log would hold addresses with their queries. The edge logs without them.
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        http=BoundedProtocol,
        ws="none",
        proxy_headers=True,
        forwarded_allow_ips=list(settings.trusted_proxies),
    )
    return Server(config, app.state.backend)


def serve(app: FastAPI, settings: ApiSettings, bound: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; to be called in the main thread.

    Answers under way are finished, for `STOP_SECONDS` at most; followed logs end at once, and their readers
    come back with the id of the last event.

    Raises:
        ConfigError: the process may not have enough open files, or did not start.
    """
    allow_files(settings)
    server = make_server(app, settings)
    # The server raises the signal again when it is done: ended as told is no failure.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[bound])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not server.started:
        raise ConfigError("the API did not start; its log says why")

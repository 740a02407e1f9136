"""The connections: HTTP as uvicorn speaks it, with bounds on how long anybody lets us wait.

The edge sees a request when its headers are complete, and its body when a route reads it. Uvicorn alone
waits for both, and for whoever does not read an answer, for ever.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from auditlog_api import metrics
from auditlog_api.problem import Problem

HEAD_BYTES_MAX: Final = 128 * 1024
"""Of a request's line and headers, about: what is refused with a problem is shorter."""
SECONDS_MAX: Final = {"head": 20.0, "body": 20.0, "rest": 2.0, "idle": float("inf")}
"""How long a connection may let us wait, by what for: a request's first byte and headers; then all of its
body; what is left of the body after the answer; a further request, for which the server has its own limit."""
UNREAD_SECONDS_MAX: Final = 30.0
"""How long a connection may take nothing of what is sent to it."""
SPARE: Final = 64
"""Connections beyond those that are answered: there the process's state can be asked, and 503 be said."""

_UNSENT_BYTES: Final = 64 * 1024
"""Held by the kernel and not yet sent: little, or it would hide for minutes that a slow reader goes on."""


class Connections(ServerState):
    """All connections of a server.

    There are at most `SPARE` more than may be answered at once. For a further one the one that has let us
    wait longest gives way, so that slow or idle ones keep nobody out.
    """

    def __init__(self, connections_max: int) -> None:
        super().__init__()
        self._answered_max = connections_max
        # In the order in which they began to let us wait.
        self.waited_for: dict[BoundedProtocol, float] = {}

    @property
    def full(self) -> bool:
        """Whether as many are answered as may be."""
        answered = len(self.connections) - len(self.waited_for)
        return answered >= self._answered_max or len(self.tasks) >= 2 * (self._answered_max + SPARE)

    def make_room(self) -> None:
        """End those that give way."""
        while len(self.connections) > self._answered_max + SPARE and self.waited_for:
            next(iter(self.waited_for)).end("gave_way")

    def look(self) -> None:
        """End those that have let us wait too long; to be called again and again."""
        for connection in list(self.connections):
            if isinstance(connection, BoundedProtocol):
                connection.look()


class BoundedProtocol(HttpToolsProtocol):
    """One connection; it knows whether it is waited for, and for what."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert isinstance(self.server_state, Connections)
        self._all = self.server_state
        self._head_bytes = 0
        self._in_head = True
        self._waiting_for = ""
        self._unsent = 0
        self._took_at = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        with suppress(OSError):
            transport.get_extra_info("socket").setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES
            )
        self._settle()
        self._all.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._all.waited_for.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes, as long as there are not too many of them before the headers are complete."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(_TOO_LARGE)
                return
        super().data_received(data)
        self._settle()

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._in_head = False
        self.scope["state"]["full"] = self._all.full
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for a further request."""
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        super().on_response_complete()
        self._settle()

    def resume_writing(self) -> None:
        """Go on: the connection has taken what was sent."""
        self._took_at = self.loop.time()
        super().resume_writing()

    def look(self) -> None:
        """End this connection if it has let us wait too long."""
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._took_at = now
        self._unsent = unsent
        if now - self._took_at >= UNREAD_SECONDS_MAX:
            self.end("unread")
        elif now < self._all.waited_for.get(self, float("inf")):
            return
        elif self._waiting_for == "body" and not self.cycle.response_started:
            metrics.CONNECTIONS_ENDED.labels("body").inc()
            self._all.waited_for.pop(self, None)
            # Its route ends, and answers nothing after this.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._refuse(_TOO_SLOW)
        else:
            self.end(self._waiting_for)

    def end(self, why: str) -> None:
        """End this connection at once; `why` is one of `metrics.CONNECTION_ENDS`."""
        metrics.CONNECTIONS_ENDED.labels(why).inc()
        self._all.waited_for.pop(self, None)
        self._all.connections.discard(self)
        self.transport.abort()

    def _settle(self) -> None:
        """Find out whether this connection is waited for, or waits for its answer."""
        answered = self.cycle is None or self.cycle.response_complete
        if self.pipeline or (self._in_head and not answered):
            waiting_for = ""
        elif self._in_head:
            waiting_for = "head" if self._head_bytes or self.cycle is None else "idle"
        else:
            waiting_for = "rest" if answered else "body"
        if self not in self._all.connections or waiting_for == self._waiting_for:
            return
        self._waiting_for = waiting_for
        self._all.waited_for.pop(self, None)
        if waiting_for:
            self._all.waited_for[self] = self.loop.time() + SECONDS_MAX[waiting_for]

    def _refuse(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()


def _last_answer(problem: Problem) -> bytes:
    response = problem.response()
    response.headers.update({"connection": "close", "cache-control": "no-store"})
    lines = [b"HTTP/1.1 %d %s" % (problem.status, str(problem.document()["title"]).encode())]
    lines += [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])


_TOO_LARGE: Final = _last_answer(Problem(431, "headers-too-large", "the headers have no end"))
_TOO_SLOW: Final = _last_answer(
    Problem(408, "request-timeout", f"the body has to be there within {SECONDS_MAX['body']:.0f} s")
)

"""Following a log: a connection that gets an account's events as they are stored, as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from auditlog_api import metrics
from auditlog_api.problem import Problem
from auditlog_api.settings import ApiSettings
from auditlog_api.shares import Asker, Places
from auditlog_schemas.errors import TransientError
from auditlog_storage.tail import Tail

MEDIA_TYPE: Final = "text/event-stream"
EVENTS_A_LOOK_MAX: Final = 50
"""Events that are read and sent at a time: a connection holds no more of them than this."""

RETRY_MILLISECONDS: Final = 2_000
"""When a browser comes back by itself after its connection has ended."""

_log = structlog.get_logger("auditlog.api")


class Tails:
    """How many connections follow a log, in all and of one account."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._open = Places(settings.account_tails_max, "too_many_tails", "followed logs", 10)

    @contextmanager
    def one_more(self, asker: Asker) -> Iterator[None]:
        """Count a connection while inside.

        Raises:
            Problem: 429, too many of the account or the viewer token; 503, too many of this process.
        """
        self.require_room(asker)
        with self._open.one_more(asker):
            metrics.TAILS.inc()
            try:
                yield
            finally:
                metrics.TAILS.dec()

    def require_room(self, asker: Asker) -> None:
        """Raise as `one_more` does, and count nothing."""
        self._open.require(asker)
        if self._open.taken >= self._settings.tails_max:
            metrics.REFUSED.labels("too_many_tails").inc()
            raise Problem(503, "busy", "too many logs are followed; try again", {"Retry-After": "10"})


@dataclass(frozen=True, slots=True)
class Follower:
    """Who follows which log, and how it is looked at.

    Attributes:
        asker: whose share the connection takes.
        look: returns what has come since a position, at most `EVENTS_A_LOOK_MAX` events.
        as_json: an event as it is sent.
        check: raises a Problem when the token is not good any more.
    """

    asker: Asker
    look: Callable[[Any], Awaitable[Tail]]
    as_json: Callable[[Any], dict[str, Any]]
    check: Callable[[], Awaitable[object]]


class TailAnswer(Response):
    """An answer that goes on until its reader leaves, its token ends or the process stops.

    It holds one look's events and what the connection has not taken yet (some 64 KiB).
    While ClickHouse is away it waits.

    Args:
        settings: how often to look, and to give a sign.
        tails: counts the connection.
        follower: who follows what.
        first: what the first look found.
        stopping: set when the process is told to stop.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self, settings: ApiSettings, tails: Tails, follower: Follower, first: Tail, stopping: asyncio.Event
    ) -> None:
        # A proxy that collects answers before it passes them on would keep them for ever.
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._settings = settings
        self._tails = tails
        self._follower = follower
        self._first = first
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Send what there is, then what comes."""
        with self._tails.one_more(self._follower.asker):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            left = asyncio.create_task(_left(receive))
            stopping = asyncio.create_task(self._stopping.wait())
            why = "failed"
            try:
                why = await self._follow(send, {left, stopping})
                if not left.done():
                    await _send(send, b"event: end\ndata: " + to_json({"reason": why}) + b"\n\n", False)
            finally:
                metrics.TAILS_ENDED.labels(why).inc()
                for task in (left, stopping):
                    task.cancel()

    async def _follow(self, send: Send, ends: set[asyncio.Task[Any]]) -> str:
        """Send events until something ends it; return what, one of `metrics.TAIL_ENDS`."""
        settings, follower, tail = self._settings, self._follower, self._first
        piece = f"retry: {RETRY_MILLISECONDS}\n".encode() + _messages(tail, follower.as_json)
        sent_at = time.monotonic()
        while True:
            if not tail.events and not piece and time.monotonic() - sent_at >= settings.heartbeat_seconds:
                # Its id: a reader that comes back need not go through all that was not for it.
                piece = f": heartbeat\nid: {tail.text}\n\n".encode()
            if piece:
                await _send(send, piece)
                metrics.TAIL_EVENTS.inc(len(tail.events))
                sent_at = time.monotonic()
            seconds = 0.0 if tail.more else settings.tail_poll_seconds
            done, _ = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return "stopping" if self._stopping.is_set() else "left"
            if (why := await self._token_ended()) is not None:
                return why
            tail = await self._look(tail)
            piece = _messages(tail, follower.as_json)

    async def _token_ended(self) -> str | None:
        """Return ``expired`` or ``revoked`` when the token is not good any more."""
        try:
            await self._follower.check()
        except Problem as problem:
            if problem.status == 401:
                return "revoked" if problem.name == "token-revoked" else "expired"
        except TransientError as error:
            _log.warning("waiting", doing="looking a token up", error=str(error))
        return None

    async def _look(self, before: Tail) -> Tail:
        """Return what has come since; nothing while ClickHouse is away or the account has no turn."""
        try:
            return await self._follower.look(before.position)
        except Problem:
            pass
        except TransientError as error:
            _log.warning("waiting", doing="following a log", error=str(error))
        return Tail((), before.position, before.text)


async def _left(receive: Receive) -> None:
    """Return when the reader has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, piece: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": more})


def _messages(tail: Tail, as_json: Callable[[Any], dict[str, Any]]) -> bytes:
    """Return events as messages, each with the position behind it as its id."""
    lines = []
    for stored, text in tail.events:
        lines.append(b"id: " + text.encode() + b"\ndata: " + to_json(as_json(stored)) + b"\n\n")
    return b"".join(lines)

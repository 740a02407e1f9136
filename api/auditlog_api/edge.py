"""The edge: what every request passes first and every answer last. One layer, because each costs time."""

from __future__ import annotations

import re
import time
from secrets import token_hex
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from auditlog_api import metrics
from auditlog_api.problem import Problem, not_found
from auditlog_api.settings import ApiSettings

SLASH: Final = "\x00"
"""Stands for ``%2F`` in a path until it has been taken apart: ids may hold a slash, and never this."""

UNLOGGED: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""What machinery asks again and again; it is answered even when nothing else is."""
LEFT: Final = 499
"""Counted and logged as the status of a request whose sender was gone before its answer began."""

PIECE_BYTES: Final = 64 * 1024
"""A large answer goes to the server in pieces: so the request keeps its place until the last one could go."""

_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""Of every answer that does not set its own."""

_HTTPS: Final = (b"strict-transport-security", b"max-age=31536000")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

_log = structlog.get_logger("auditlog.api")


class Edge:
    """Bounds requests, gives each an id, adds security headers, counts, logs, and answers what failed.

    A log line names route, account and token id, and never a query or a token.
    """

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        passage = _Passage(scope, receive, send, self._settings)
        # Every line about this request has its id, which the answer has too and never the reason.
        bind_contextvars(request_id=passage.request_id)
        with metrics.UNDER_WAY.track_inprogress():
            try:
                refused = passage.refused()
                if refused is None:
                    await self._app(scope, passage.receive, passage.send)
                else:
                    await refused.response()(scope, receive, passage.send)
            except ClientDisconnect:
                passage.status = passage.status or LEFT
            except Exception as error:
                _log.error("failed", error=f"{type(error).__name__}: {error}", exc_info=error)
                if passage.status:
                    # Half an answer must not look like a whole one: the server closes the connection.
                    raise
                problem = Problem(500, "internal", "this could not be answered; the server's log says why")
                await problem.response()(scope, receive, passage.send)
            finally:
                passage.end()


class _Passage:
    """One request on its way in and its answer on its way out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: ApiSettings) -> None:
        self.status = 0
        self._scope = scope
        self._receive = receive
        self._send = send
        self._settings = settings
        self._body_bytes = 0
        self._began = time.perf_counter()
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        self._request_id = given if _REQUEST_ID.fullmatch(given) else token_hex(8).encode()
        self._length = headers.get(b"content-length", b"0")
        self.request_id = self._request_id.decode()
        scope.setdefault("state", {})["request_id"] = self.request_id

    def refused(self) -> Problem | None:
        """Return why the request is not looked at any further; None when it is."""
        scope, limits = self._scope, self._settings
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        if scope["state"].get("full") and scope["path"] not in UNLOGGED:
            metrics.REFUSED.labels("too_many_connections").inc()
            again = {"Retry-After": "2", "Connection": "close"}
            return Problem(503, "busy", "too many requests are under way; try again", again)
        if len(raw_path) + len(scope["query_string"]) > limits.url_bytes_max:
            return Problem(414, "url-too-long", f"at most {limits.url_bytes_max} bytes of path and query")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > limits.header_bytes_max:
            return Problem(431, "headers-too-large", f"at most {limits.header_bytes_max} bytes of headers")
        if self._length.isdigit() and int(self._length[:20]) > limits.request_bytes_max:
            return Problem(413, "body-too-large", f"at most {limits.request_bytes_max} bytes of body")
        path = unquote_to_bytes(raw_path)
        if b"\x00" in path:
            return not_found()
        if b"%2f" in raw_path.lower():
            # A slash inside an id divides no path.
            kept = re.sub(rb"%2[fF]", b"%00", raw_path)
            scope["path"] = unquote_to_bytes(kept).decode("utf-8", "replace")
        return None

    async def receive(self) -> Message:
        """Pass on a piece of the body, unless it grows too large."""
        message = await self._receive()
        self._body_bytes += len(message.get("body", b""))
        if self._body_bytes > self._settings.request_bytes_max:
            raise HTTPException(413, f"at most {self._settings.request_bytes_max} bytes of body")
        return message

    async def send(self, message: Message) -> None:
        """Pass on a piece of the answer."""
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
            names = {name for name, _ in headers}
            headers += [header for header in _HEADERS if header[0] not in names]
            headers.append((b"x-request-id", self._request_id))
            if self._scope["scheme"] == "https" or self._settings.behind_https:
                headers.append(_HTTPS)
            message = {**message, "headers": headers}
        body = message.get("body", b"")
        if len(body) <= PIECE_BYTES:
            await self._send(message)
            return
        is_more = message.get("more_body", False)
        for start in range(0, len(body), PIECE_BYTES):
            end = start + PIECE_BYTES
            more = is_more or end < len(body)
            await self._send({**message, "body": body[start:end], "more_body": more})

    def end(self) -> None:
        """Give back what the request had, count and log."""
        state: dict[str, Any] = self._scope["state"]
        if (over := state.get("over")) is not None:
            over()
        seconds = time.perf_counter() - self._began
        route = getattr(self._scope.get("route"), "path", "")
        method = self._scope["method"] if route else ""
        metrics.REQUESTS.labels(route, method, str(self.status)).inc()
        if not route.endswith("/tail"):
            metrics.REQUEST_SECONDS.labels(route).observe(seconds)
        if self._settings.log_requests and route not in UNLOGGED:
            reader = state.get("reader")
            _log.info(
                "answered",
                status=self.status,
                method=self._scope["method"],
                route=route or "none",
                milliseconds=round(seconds * 1000, 1),
                account=getattr(reader, "account_id", ""),
                token_id=getattr(reader, "token_id", ""),
                request_id=self.request_id,
            )

"""HTTP sessions: what `SET`, `USE` and temporary tables leave behind for the session's next request.

A session costs nothing until it has such state: its requests run on fresh connections like any others. The
first statement that leaves state gives it a connection of its own. A setting in the URL holds for its request
only, so on such a connection it is put back afterwards.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from chdb.state.sqlitelike import Connection

from auditlog_local.clickhouse.errors import (
    SESSION_IS_LOCKED,
    SESSION_NOT_FOUND,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    EngineError,
)
from auditlog_local.clickhouse.request import Session
from auditlog_local.clickhouse.tokens import quote_identifier, quote_string

SESSIONS_MAX = 1000


@dataclass
class HeldSession:
    """One session between requests; ``connection`` is None while it has no state."""

    key: tuple[str, str]
    connection: Connection | None = None
    busy: bool = False
    expires_at: float = 0.0

    def drop_connection(self) -> None:
        """Forget the session's state."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class SessionRegistry:
    """All sessions of the server."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[str, str], HeldSession] = {}
        self._lock = threading.Lock()

    @contextmanager
    def use(self, user: str, wanted: Session | None) -> Iterator[HeldSession | None]:
        """The session for one request, which no other request may use meanwhile.

        Raises:
            EngineError: it is in use (373), must exist and does not (372), or there are too many (202).
        """
        if wanted is None:
            yield None
            return
        held = self._take((user, wanted.id), wanted.must_exist)
        try:
            yield held
        finally:
            with self._lock:
                held.busy = False
                held.expires_at = time.monotonic() + wanted.timeout_seconds
                if wanted.close_after:
                    self._sessions.pop(held.key, None)
                    held.drop_connection()

    def _take(self, key: tuple[str, str], must_exist: bool) -> HeldSession:
        with self._lock:
            self._expire()
            held = self._sessions.get(key)
            if held is None:
                if must_exist:
                    raise EngineError(SESSION_NOT_FOUND, f"Session {key[1]} not found")
                if len(self._sessions) >= SESSIONS_MAX:
                    raise EngineError(
                        TOO_MANY_SIMULTANEOUS_QUERIES, f"more than {SESSIONS_MAX} sessions are open"
                    )
                held = self._sessions[key] = HeldSession(key)
            elif held.busy:
                raise EngineError(SESSION_IS_LOCKED, f"Session {key[1]} is locked by a concurrent client")
            held.busy = True
            return held

    def _expire(self) -> None:
        now = time.monotonic()
        for key in [k for k, s in self._sessions.items() if not s.busy and s.expires_at < now]:
            self._sessions.pop(key).drop_connection()

    def drop_connections(self) -> None:
        """Forget the state of every session, because the engine closes."""
        with self._lock:
            for held in self._sessions.values():
                held.drop_connection()


def remember_settings(connection: Connection, names: list[str]) -> bytes:
    """The SET statement that puts these settings back as they are now; empty when there are none."""
    if not names:
        return b""
    listed = b", ".join(quote_string(name) for name in names)
    rows = connection.query(
        (b"SELECT name, value, changed FROM system.settings WHERE name IN (" + listed + b")").decode(),
        "JSONCompactEachRow",
    )
    parts = []
    for line in bytes(rows.bytes()).splitlines():
        name, value, changed = json.loads(line)
        parts.append(quote_identifier(name) + b" = " + (quote_string(value) if changed else b"DEFAULT"))
    return b"SET " + b", ".join(parts) if parts else b""

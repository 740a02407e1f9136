"""Tokens that were looked up lately, and when each was last used."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeAlias

import structlog

from auditlog_api import metrics
from auditlog_api.problem import Problem
from auditlog_schemas.errors import AuditError
from auditlog_storage.tokens import Token, TokenTable

KNOWN_MAX: Final = 20_000
LOOKUPS_WAITING_MAX: Final = 200
"""Lookups of different tokens at the same time; more only come from somebody who guesses."""
USES_SECONDS: Final = 60.0

Run: TypeAlias = Callable[[Callable[[], object]], Awaitable[object]]
"""Runs a function in a thread."""

_log = structlog.get_logger("auditlog.api")


class KnownTokens:
    """A short memory of `audit_tokens`, for the one event loop it is used in.

    Args:
        table: where tokens are.
        kept_seconds: how long an answer is believed. A token that is revoked, by whichever process, is
            refused everywhere so many seconds later.
        run: runs a function that waits for ClickHouse in a thread.
    """

    def __init__(self, table: TokenTable, kept_seconds: float, run: Run) -> None:
        self._table = table
        self._kept_seconds = kept_seconds
        self._run = run
        self._known: OrderedDict[str, tuple[float, Token | None]] = OrderedDict()
        self._lookups: dict[str, asyncio.Future[Token | None]] = {}
        self._used: dict[str, datetime] = {}

    async def find(self, sha256: str) -> Token | None:
        """Return the token with this hash, revoked or not; None when there is none.

        Raises:
            Problem: 429 when too many unknown ones are being looked up.
            StorageUnavailable: ClickHouse does not answer.
        """
        at, token = self._known.get(sha256, (float("-inf"), None))
        if time.monotonic() - at < self._kept_seconds:
            return token
        lookup = self._lookups.get(sha256)
        if lookup is None:
            if len(self._lookups) >= LOOKUPS_WAITING_MAX:
                metrics.REFUSED.labels("too_many_lookups").inc()
                raise Problem(429, "too-many-requests", "too many tokens at once", {"Retry-After": "1"})
            lookup = asyncio.ensure_future(self._look_up(sha256))
            self._lookups[sha256] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(sha256, None))
        # Whoever waits may go away; the others still want the answer.
        return await asyncio.shield(lookup)

    def forget(self, sha256: str) -> None:
        """Look this token up again when it is presented next."""
        self._known.pop(sha256, None)

    def used(self, token_id: str) -> None:
        """Note that a token was used now; `note_uses` stores it."""
        self._used[token_id] = datetime.now(UTC)

    async def note_uses(self) -> None:
        """Store when tokens were used since the last call; what cannot be stored now is stored later."""
        if not self._used:
            return
        used, self._used = self._used, {}
        try:
            await self._run(lambda: self._table.note_uses(used))
        except AuditError as error:
            _log.warning("waiting", doing="storing when tokens were used", error=str(error))
            self._used = used | self._used

    async def keep_noting_uses(self) -> None:
        """Call `note_uses` once in `USES_SECONDS`, until cancelled."""
        while True:
            await asyncio.sleep(USES_SECONDS)
            await self.note_uses()

    async def _look_up(self, sha256: str) -> Token | None:
        # Before the lookup: what is revoked while it is under way is found out in time, too.
        at = time.monotonic()
        token = await self._run(lambda: self._table.find(sha256))
        assert token is None or isinstance(token, Token)
        self._known[sha256] = (at, token)
        self._known.move_to_end(sha256)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return token

"""Tokens that were looked up lately, and when each was last used."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import structlog

from auditlog_api import metrics
from auditlog_api.guesses import Guesses
from auditlog_schemas.errors import AuditError, StorageUnavailable, TransientError
from auditlog_storage.tokens import Token, TokenTable

KNOWN_MAX: Final = 20_000
BAD_MAX: Final = 20_000
RENEWAL_SECONDS: Final = 0.5
"""A good token waits no longer for being looked up again, while its last answer may be believed."""
OUTLIVES_SECONDS: Final = 60.0
"""How long after its time the last answer about a good token is believed, while ClickHouse gives none."""
USES_SECONDS: Final = 60.0

Run: TypeAlias = Callable[[Callable[[], object]], Awaitable[object]]
"""Runs a function in a thread."""

_log = structlog.get_logger("auditlog.api")


@dataclass(frozen=True, slots=True)
class Lanes:
    """The threads that wait for ClickHouse, in lanes that do not hold each other up.

    Attributes:
        new: for tokens never seen; it runs as many at once as `Guesses` hands out turns.
        again: for those that were good.
        notes: for notes of when tokens were used.
    """

    new: Run
    again: Run
    notes: Run


@dataclass(slots=True)
class _Lookup:
    began: float
    answer: asyncio.Future[Token | None]


class KnownTokens:
    """A short memory of `audit_tokens`, for the one event loop it is used in.

    Good tokens have a memory and a lane of their own, so that guesses neither push them out nor hold them up.

    Args:
        table: where tokens are.
        kept_seconds: how long an answer is believed. A token that is revoked, by whichever process, is
            refused everywhere so many seconds later; `OUTLIVES_SECONDS` more while ClickHouse is silent.
        lanes: run functions that wait for ClickHouse.
        guesses: hands out turns to look up tokens never seen.
    """

    def __init__(self, table: TokenTable, kept_seconds: float, lanes: Lanes, guesses: Guesses) -> None:
        self._table = table
        self._kept_seconds = kept_seconds
        self._lanes = lanes
        self._guesses = guesses
        self._good: OrderedDict[str, tuple[float, Token]] = OrderedDict()
        self._bad: OrderedDict[str, tuple[float, Token | None]] = OrderedDict()
        self._lookups: dict[str, _Lookup] = {}
        self._used: dict[str, datetime] = {}

    async def find(self, sha256: str, host: str | None) -> Token | None:
        """Return the token with this hash, revoked or not; None when there is none.

        Args:
            sha256: of the token.
            host: the address of the client that presents it.

        Raises:
            Problem: 429, see `Guesses.take`.
            StorageUnavailable: ClickHouse does not answer.
        """
        now = time.monotonic()
        good = self._good.get(sha256)
        if good is not None:
            self._good.move_to_end(sha256)
            at, token = good
            if now - at < self._kept_seconds:
                return token
            return await self._again(sha256, at, token)
        at, bad = self._bad.get(sha256, (float("-inf"), None))
        if now - at < self._kept_seconds:
            return bad
        lookup = self._lookups.get(sha256) or self._begin(sha256, self._new(sha256, host))
        # Whoever waits may go away; the others still want the answer.
        return await asyncio.shield(lookup.answer)

    def forget(self, sha256: str) -> None:
        """Look this token up again when it is presented next; what is being looked up now is too old."""
        for known in (self._good, self._bad, self._lookups):
            known.pop(sha256, None)

    def used(self, token_id: str) -> None:
        """Note that a token was used now; `note_uses` stores it."""
        self._used[token_id] = datetime.now(UTC)

    async def note_uses(self) -> None:
        """Store when tokens were used since the last call; what cannot be stored now is stored later."""
        if not self._used:
            return
        used, self._used = self._used, {}
        try:
            await self._lanes.notes(lambda: self._table.note_uses(used))
        except AuditError as error:
            _log.warning("waiting", doing="storing when tokens were used", error=str(error))
            self._used = used | self._used

    async def keep_noting_uses(self) -> None:
        """Call `note_uses` once in `USES_SECONDS`, until cancelled."""
        while True:
            await asyncio.sleep(USES_SECONDS)
            await self.note_uses()

    async def _again(self, sha256: str, at: float, token: Token) -> Token | None:
        """Look up again what was good; without an answer in time, believe the last one for a while."""
        lookup = self._lookups.get(sha256) or self._begin(sha256, self._look_up(sha256, self._lanes.again))
        now = time.monotonic()
        if now - at >= self._kept_seconds + OUTLIVES_SECONDS:
            return await asyncio.shield(lookup.answer)
        try:
            async with asyncio.timeout(max(0.0, lookup.began + RENEWAL_SECONDS - now)):
                return await asyncio.shield(lookup.answer)
        except (TimeoutError, TransientError):
            if sha256 not in self._good:
                # Revoked here meanwhile.
                raise StorageUnavailable("a token could not be looked up again") from None
            metrics.TOKENS_BELIEVED.inc()
            return token

    def _begin(self, sha256: str, work: Coroutine[Any, Any, Token | None]) -> _Lookup:
        # Before the lookup: what is revoked while it is under way is found out in time, too.
        lookup = _Lookup(time.monotonic(), asyncio.ensure_future(work))
        self._lookups[sha256] = lookup
        lookup.answer.add_done_callback(lambda _: self._end(sha256, lookup))
        return lookup

    def _end(self, sha256: str, lookup: _Lookup) -> None:
        failed = lookup.answer.cancelled() or lookup.answer.exception() is not None
        if self._lookups.get(sha256) is not lookup:
            # Forgotten meanwhile: it may have been asked for before it was revoked.
            return
        del self._lookups[sha256]
        if failed:
            return
        token = lookup.answer.result()
        self._good.pop(sha256, None)
        self._bad.pop(sha256, None)
        if token is not None and token.revoked_at is None:
            self._good[sha256] = lookup.began, token
        else:
            self._bad[sha256] = lookup.began, token
        if len(self._good) > KNOWN_MAX:
            self._good.popitem(last=False)
        if len(self._bad) > BAD_MAX:
            self._bad.popitem(last=False)

    async def _new(self, sha256: str, host: str | None) -> Token | None:
        guesser, missed = await self._guesses.take(host), False
        try:
            token = await self._look_up(sha256, self._lanes.new)
            missed = token is None
            return token
        finally:
            self._guesses.give_back(guesser, missed)

    async def _look_up(self, sha256: str, run: Run) -> Token | None:
        token = await run(lambda: self._table.find(sha256))
        assert token is None or isinstance(token, Token)
        return token

"""Turns: how many queries run at once, in all and for one account, and who has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from auditlog_api import metrics
from auditlog_api.problem import Problem
from auditlog_api.settings import ApiSettings

T = TypeVar("T")


@dataclass(slots=True)
class _Share:
    """One account's turns, and how many of its requests run or wait."""

    turns: asyncio.Semaphore
    requests: int = 0


class Queries:
    """Runs the functions that wait for ClickHouse in threads, by turns, for one event loop."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.queries_max, thread_name_prefix="query")
        self._turns = asyncio.Semaphore(settings.queries_max)
        self._shares: dict[str, _Share] = {}

    async def run(self, account_id: str, work: Callable[[], T]) -> T:
        """Run `work` in a thread when it is this account's turn; raises what it raises.

        Raises:
            Problem: 429 when too many of the account's requests wait already, 503 when this one waited too
                long; both say when to try again.
        """
        async with self._turn(account_id):
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Let what runs end, and take nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def _turn(self, account_id: str) -> AsyncIterator[None]:
        limits = self._settings
        share = self._shares.get(account_id)
        if share is None:
            share = self._shares[account_id] = _Share(asyncio.Semaphore(limits.account_queries_max))
        if share.requests >= limits.account_queries_max + limits.account_waiting_max:
            metrics.REFUSED.labels("account_busy").inc()
            detail = f"this account has {share.requests} requests under way; send fewer at a time"
            raise Problem(429, "too-many-requests", detail, {"Retry-After": "1"})
        share.requests += 1
        try:
            async with _within(share.turns, self._turns, limits.wait_seconds_max):
                yield
        finally:
            share.requests -= 1
            if not share.requests:
                del self._shares[account_id]


@asynccontextmanager
async def _within(own: asyncio.Semaphore, all: asyncio.Semaphore, seconds_max: float) -> AsyncIterator[None]:
    """Hold a turn of both while inside."""
    try:
        async with asyncio.timeout(seconds_max):
            await own.acquire()
            try:
                await all.acquire()
            except BaseException:
                own.release()
                raise
    except TimeoutError:
        metrics.REFUSED.labels("waited_too_long").inc()
        raise Problem(503, "busy", "too many requests; try again", {"Retry-After": "2"}) from None
    try:
        yield
    finally:
        all.release()
        own.release()

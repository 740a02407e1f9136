"""Queries: functions that wait for ClickHouse, in threads, by turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from auditlog_api import metrics
from auditlog_api.problem import Problem
from auditlog_api.settings import ApiSettings
from auditlog_api.shares import Asker
from auditlog_api.turns import Turns

T = TypeVar("T")

KEPT_SHARE: Final = 4
"""One turn in so many is kept for accounts that have none."""


class Queries:
    """Runs what is asked for, each account within its share, for one event loop."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.queries_max, thread_name_prefix="query")
        self._turns = Turns(settings.queries_max, settings.queries_max // KEPT_SHARE)

    async def run(self, asker: Asker, work: Callable[[], T]) -> T:
        """Run `work` in a thread when it is this asker's turn; raises what it raises.

        The turn lasts until the work ends, also when whoever waits for it has gone: a thread cannot be
        cancelled.

        Raises:
            Problem: 503, it waited too long; says when to try again.
        """
        try:
            async with asyncio.timeout(self._settings.wait_seconds_max):
                turn = await self._turns.take(asker.path(self._settings.account_queries_max))
        except TimeoutError:
            metrics.REFUSED.labels("waited_too_long").inc()
            raise Problem(503, "busy", "too many requests; try again", {"Retry-After": "2"}) from None
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)

        def over(done: asyncio.Future[T]) -> None:
            if not done.cancelled():
                # Of one for whom nobody waits any more, too: or it would be logged as never looked at.
                done.exception()
            self._turns.give_back(turn)

        running.add_done_callback(over)
        return await asyncio.shield(running)

    def close(self) -> None:
        """Let what runs end, and take nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

"""How many statements run at once and how many wait: both bounded, and beyond them ClickHouse's error 202."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from auditlog_local.clickhouse.errors import (
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    EngineError,
)


class Admission:
    """The server's slots; use from one event loop.

    Args:
        running_max: statements that run at once.
        waiting_max: requests that may wait for a slot.
    """

    def __init__(self, running_max: int, waiting_max: int) -> None:
        self.running_max = running_max
        self.waiting_max = waiting_max
        self.waiting = 0
        self.running = 0
        self._slots = asyncio.Semaphore(running_max)
        self._query_ids: set[str] = set()

    @asynccontextmanager
    async def slot(self, query_id: str) -> AsyncIterator[None]:
        """Hold a slot.

        Raises:
            EngineError: the queue is full (202), or the query id runs already (216).
        """
        if query_id in self._query_ids:
            raise EngineError(
                QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, f"Query with id = {query_id} is already running."
            )
        if self._slots.locked() and self.waiting >= self.waiting_max:
            raise EngineError(
                TOO_MANY_SIMULTANEOUS_QUERIES,
                f"Too many simultaneous queries: {self.running} run (at most {self.running_max}) "
                f"and {self.waiting} wait (at most {self.waiting_max}).",
            )
        self._query_ids.add(query_id)
        self.waiting += 1
        try:
            await self._slots.acquire()
        except BaseException:
            self._query_ids.discard(query_id)
            raise
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._query_ids.discard(query_id)
            self._slots.release()

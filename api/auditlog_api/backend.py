"""The backend: everything that the routes of one API process stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request

from auditlog_api.access import Access, Reader
from auditlog_api.guesses import Guesses
from auditlog_api.health import AskKafka, Health
from auditlog_api.known_tokens import KnownTokens, Lanes
from auditlog_api.own_events import OwnEvents
from auditlog_api.pages.completeness import CompletenessOfLog
from auditlog_api.queries import Queries
from auditlog_api.settings import ApiSettings
from auditlog_api.shares import Places
from auditlog_api.tail import Tails
from auditlog_api.viewer_tokens import ViewerKeys
from auditlog_exports.jobs import Jobs
from auditlog_schemas.catalog import Catalog
from auditlog_storage.connection import Connection
from auditlog_storage.reader import LogReader
from auditlog_storage.tail import LogTail
from auditlog_storage.tokens import TokenTable

T = TypeVar("T")

TOKEN_THREADS: Final = 2
"""Of each of three lanes: tokens never seen, tokens seen good, and what else is short."""


class Backend:
    """What the routes of one process share; ``request.app.state.backend``.

    Args:
        settings: limits and keys.
        connection: to ClickHouse; it should allow at least `queries_max` and three times `TOKEN_THREADS`
            requests.
        catalog: renders sentences and lists actions.
        own_events: publishes audit events of the API's own.
        kafka: asks Kafka how far its log has been stored; None when nobody here can.
        exports: the jobs of bulk export; None when there are none here.

    Attributes:
        log: reads events; call it through `read`.
        log_tail: follows them; call it through `queries`.
        tails: counts connections that follow a log.
        off_loop: runs something short that waits for ClickHouse, and is no query of the log, in a thread.
        tokens: the table of tokens; call it through `queries`, or `off_loop`.
        requests: counts those under way, by account.
        stopping: set when the process is told to stop: whatever would go on ends.
    """

    def __init__(
        self,
        settings: ApiSettings,
        connection: Connection,
        catalog: Catalog,
        own_events: OwnEvents,
        kafka: AskKafka | None = None,
        exports: Jobs | None = None,
    ) -> None:
        self.settings = settings
        self.connection = connection
        self.catalog = catalog
        self.own_events = own_events
        self.exports = exports
        self.log = LogReader(connection, settings.snapshot_seconds)
        self.log_tail = LogTail(connection)
        self.tails = Tails(settings)
        self.tokens = TokenTable(connection)
        self.requests = Places(settings.account_requests_max, "account_busy", "requests under way", 1)
        self.queries = Queries(settings)
        self.viewer_keys = ViewerKeys(settings.viewer_keys)
        self.stopping = asyncio.Event()
        # Of their own: a token is looked up although all queries are long ones.
        self._lanes = [
            ThreadPoolExecutor(TOKEN_THREADS, f"tokens-{name}") for name in ("short", "new", "again")
        ]
        short, new, again = (partial(_in_thread, lane) for lane in self._lanes)
        self.off_loop = short
        lanes = Lanes(new, again, short)
        guesses = Guesses(TOKEN_THREADS)
        self.known_tokens = KnownTokens(self.tokens, settings.token_kept_seconds, lanes, guesses)
        self.access = Access(self.known_tokens, self.viewer_keys)
        self.health = Health(connection, self.off_loop, kafka)
        self.completeness = CompletenessOfLog(self.health)

    async def read(self, reader: Reader, work: Callable[[LogReader], T]) -> T:
        """Run `work` with the log, in a thread, when it is the turn of the reader's account.

        Raises:
            Problem: see `Queries.run`; and what `work` raises.
        """
        return await self.queries.run(reader.asker, lambda: work(self.log))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do what has to be done in the background while inside."""
        noting = asyncio.create_task(self.known_tokens.keep_noting_uses())
        try:
            yield
        finally:
            self.stopping.set()
            noting.cancel()
            with suppress(asyncio.CancelledError):
                await noting
            await self.known_tokens.note_uses()
            self.queries.close()
            for lane in self._lanes:
                lane.shutdown(wait=True)


async def _in_thread(lane: ThreadPoolExecutor, work: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(lane, work)


async def _backend(request: Request) -> Backend:
    # async, or FastAPI would go to a thread and back for it.
    backend: Backend = request.app.state.backend
    return backend


TheBackend = Annotated[Backend, Depends(_backend)]

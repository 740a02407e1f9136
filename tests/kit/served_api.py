"""The API as a real server on a port of its own, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from fastapi import FastAPI

from auditlog_api.app import create_app
from auditlog_api.backend import Backend
from auditlog_api.health import AskKafka
from auditlog_api.new_token import made_token
from auditlog_api.own_events import OwnEvents
from auditlog_api.problem import Problem
from auditlog_api.server import address_of, listening, make_server
from auditlog_api.settings import ApiSettings
from auditlog_api.shares import Asker
from auditlog_exports.jobs import Jobs
from auditlog_schemas.catalog import Catalog
from auditlog_schemas.catalog_file import load_catalog
from auditlog_storage.connection import Connection
from auditlog_storage.filters import Item
from auditlog_storage.settings import StorageSettings
from auditlog_storage.tokens import Scope, TokenTable

VIEWER_KEYS = {"new": "k" * 40, "old": "o" * 40}


class ServedApi:
    """Where it answers, and tokens to ask it with."""

    def __init__(
        self, url: str, connection: Connection, app: FastAPI, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.url = url
        self.loop = loop
        self.connection = connection
        self.app = app
        self.backend: Backend = app.state.backend
        self.client = httpx.Client(base_url=url, trust_env=False, timeout=60)

    def token(self, account_id: str = "acc_1", scope: Scope = "read", **more: Any) -> str:
        """Make a token and return its text."""
        given = {"name": "", "created_by": "tests", "expires_in_seconds": None} | more
        owner = "" if scope == "operator" else account_id
        text, token = made_token(account_id=owner, scope=scope, **given)
        TokenTable(self.connection).add(token)
        return text

    def viewer(self, account_id: str = "acc_1", item: Item | None = None, seconds: int = 600) -> str:
        return self.backend.viewer_keys.mint(account_id, item, seconds)[0]

    @contextmanager
    def busy(self, account_id: str, requests: int = 1) -> Iterator[None]:
        """Keep turns of an account taken while inside."""
        over, begun = threading.Event(), threading.Semaphore(0)

        def wait() -> None:
            begun.release()
            over.wait(30)

        async def request() -> None:
            asker = Asker(account_id, "busy")
            with self.backend.requests.one_more(asker):
                await self.backend.queries.run(asker, wait)

        held = [asyncio.run_coroutine_threadsafe(request(), self.loop) for _ in range(requests)]
        assert begun.acquire(timeout=10)
        try:
            yield
        finally:
            over.set()
            for each in held:
                # Those that waited too long were told so.
                with suppress(Problem):
                    each.result(30)

    def get(self, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        return self.ask("GET", path, token, **more)

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        sent = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        return self.client.request(method, path, headers=sent, **more)


@contextmanager
def serving(
    clickhouse_url: str,
    catalog: Catalog | None = None,
    own_events: OwnEvents | None = None,
    kafka: AskKafka | None = None,
    exports: Jobs | None = None,
    **settings: Any,
) -> Iterator[ServedApi]:
    """Serve a migrated database while inside."""
    given = {
        "viewer_keys": VIEWER_KEYS,
        "tail_poll_seconds": 0.1,
        "snapshot_seconds": 0,
        "log_requests": False,
    } | settings
    chosen = ApiSettings.load(**given)
    storage = StorageSettings.load(url=clickhouse_url, connections_max=chosen.queries_max + 8)
    with Connection(storage) as connection, listening("127.0.0.1", 0) as bound:
        app = create_app(chosen, connection, catalog or load_catalog(), own_events, kafka, exports)
        server = make_server(app, chosen)
        loop = asyncio.new_event_loop()

        def run() -> None:
            loop.run_until_complete(server.serve([bound]))
            loop.close()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the API did not start"
                time.sleep(0.01)
            served = ServedApi(address_of(bound), connection, app, loop)
            yield served
            served.client.close()
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the API did not stop"

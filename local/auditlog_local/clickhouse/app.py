"""The HTTP endpoints: requests in, statements to the runner, results out."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from auditlog_local.clickhouse.access import AccessStore
from auditlog_local.clickhouse.admission import Admission
from auditlog_local.clickhouse.body import Body
from auditlog_local.clickhouse.codecs import Decoder
from auditlog_local.clickhouse.engine import Engine
from auditlog_local.clickhouse.errors import QUERY_IS_TOO_LARGE, EngineError
from auditlog_local.clickhouse.feed import PIPE_BYTES, widen_pipe
from auditlog_local.clickhouse.form import FORM_BYTES_MAX, read_form
from auditlog_local.clickhouse.job import Job, Outcome
from auditlog_local.clickhouse.request import QueryRequest, read_request
from auditlog_local.clickhouse.response import Response
from auditlog_local.clickhouse.runner import Runner
from auditlog_local.clickhouse.sessions import SessionRegistry
from auditlog_local.clickhouse.statement import Shape, Statement, read_statement
from auditlog_local.clickhouse.write_guard import WriteGuard

_HEAD_BYTES = 1 << 20
_STATEMENT_BYTES_MAX = 16 << 20


class QueryEndpoint:
    """`/`: one statement per request, as an ASGI application."""

    def __init__(
        self,
        engine: Engine,
        access: AccessStore,
        admission: Admission,
        pool: ThreadPoolExecutor,
        spool_dir: Path,
        guard: WriteGuard,
    ) -> None:
        self._engine = engine
        self._access = access
        self._admission = admission
        self._pool = pool
        self._spool_dir = spool_dir
        self.sessions = SessionRegistry()
        self._runner = Runner(engine, access, self.sessions, guard)
        self._jobs: set[Job] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a client that goes away takes its reading statement with it."""
        request = Request(scope, receive)
        headers = {
            "X-ClickHouse-Server-Display-Name": self._engine.host_name,
            "X-ClickHouse-Timezone": self._engine.timezone,
        }
        response = Response(send, headers, self._engine.version)
        try:
            if request.method == "GET" and not request.url.query:
                await PlainTextResponse("Ok.\n")(scope, receive, send)
                return
            asked = read_request(request.method, request.query_params, request.headers)
            headers["X-ClickHouse-Query-Id"] = asked.query_id
            user = self._access.authenticate(asked.user, asked.password)
            async with self._admission.slot(asked.query_id):
                with Body(self._spool_dir) as body:
                    asked = await _receive_body(request, asked, body)
                    statement = _find_statement(body)
                    loop = asyncio.get_running_loop()
                    job = await loop.run_in_executor(self._pool, self._runner.admit, asked, user, statement)
                    await self._run(job, body, receive, response)
        except EngineError as error:
            await response.fail(error)
        except ClientDisconnect:
            return

    async def _run(self, job: Job, body: Body, receive: Receive, response: Response) -> None:
        loop = asyncio.get_running_loop()
        read_fd, write_fd = os.pipe()
        reader, transport = await _pipe_reader(read_fd)
        self._jobs.add(job)
        running = loop.run_in_executor(self._pool, self._runner.run, job, body, write_fd)
        watcher = loop.create_task(self._cancel_when_gone(job, receive))
        try:
            await self._answer(job, reader, running, response)
        finally:
            watcher.cancel()
            if not running.done() and job.reads_only:
                self._cancel(job)
            # A pipe that nobody reads would be a write of the engine that fails, and those end the process.
            while await reader.read(PIPE_BYTES):
                pass
            while not running.done():
                await asyncio.wait({running})
            transport.close()
            with suppress(Exception):
                running.exception()
            self._jobs.discard(job)

    async def _answer(
        self, job: Job, reader: asyncio.StreamReader, running: asyncio.Future[Outcome], response: Response
    ) -> None:
        """Keep the result until the buffer is full or it is whole; only then decide the status."""
        asked = job.request
        with Body(self._spool_dir) as buffered:
            while asked.wait_end_of_query or buffered.size < asked.buffer_bytes:
                piece = await reader.read(PIPE_BYTES)
                if not piece:
                    break
                buffered.write(piece)
            if reader.at_eof():
                outcome = await asyncio.shield(running)
                data_format = outcome.format if outcome.has_result else None
                buffered.write(outcome.result)
                await response.start(data_format, asked.response_coding, outcome.summary)
            else:
                data_format = job.statement.format or asked.default_format
                await response.start(data_format, asked.response_coding, {})
            for piece in buffered.pieces():
                await response.write(piece)
        while piece := await reader.read(PIPE_BYTES):
            await response.write(piece)
        await asyncio.shield(running)
        await response.finish()

    async def _cancel_when_gone(self, job: Job, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        # A statement that changes something runs to its end, as on a ClickHouse server.
        if job.reads_only:
            self._cancel(job)

    def _cancel(self, job: Job) -> None:
        asyncio.get_running_loop().run_in_executor(None, job.cancel, self._engine)

    def cancel_all(self) -> None:
        """Kill what still runs, and return when it has ended; call it when the server stops."""
        for job in list(self._jobs):
            job.cancel(self._engine)


async def _pipe_reader(read_fd: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    widen_pipe(read_fd)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=PIPE_BYTES)
    # uvloop closes the descriptor itself, and then the file. Were that to close it too, it would be somebody
    # else's by then: the engine opens and closes files all the time.
    source = os.fdopen(read_fd, "rb", buffering=0, closefd=False)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    return reader, transport


async def _receive_body(request: Request, asked: QueryRequest, body: Body) -> QueryRequest:
    """Put the statement, and the data behind it, into `body`; return the request with a form's parameters."""
    if asked.query:
        body.write(asked.query + b"\n")
    decoder = Decoder(asked.request_coding)
    form: list[bytes] = []
    size = 0
    async for piece in request.stream():
        decoded = decoder.write(piece)
        if asked.form_boundary is None:
            body.write(decoded)
            continue
        form.append(decoded)
        size += len(decoded)
        if size > FORM_BYTES_MAX:
            raise EngineError(QUERY_IS_TOO_LARGE, f"a form has at most {FORM_BYTES_MAX} bytes here")
    decoder.finish()
    if asked.form_boundary is None:
        return asked
    fields = read_form(b"".join(form), asked.form_boundary)
    body.write(fields.get("query", b""))
    return asked.with_form(fields)


def _find_statement(body: Body) -> Statement:
    """The statement the body begins with; a statement of the URL was put in front of the body."""
    statement = read_statement(body.head(_HEAD_BYTES))
    if body.size <= _HEAD_BYTES or statement.shape is Shape.INSERT:
        return statement
    if statement.shape is Shape.INSERT_FROM_INPUT and statement.format is not None:
        return statement
    if body.size > _STATEMENT_BYTES_MAX:
        raise EngineError(QUERY_IS_TOO_LARGE, f"a statement has at most {_STATEMENT_BYTES_MAX} bytes here")
    return read_statement(body.head(body.size))


async def _ok(request: Request) -> PlainTextResponse:  # noqa: ARG001
    return PlainTextResponse("Ok.\n")


def make_app(endpoint: QueryEndpoint) -> Starlette:
    """The application: `/ping` and `/replicas_status` for health checks, everything else at `/`."""
    return Starlette(
        routes=[
            Route("/ping", _ok),
            Route("/replicas_status", _ok),
            Route("/", endpoint, methods=["GET", "POST"]),
        ]
    )

"""A proxy between consumers and ClickHouse that loses, delays and cuts single HTTP messages on demand.

It reads HTTP/1.1 just far enough to know where a request and its answer end. A trouble waits until a request
comes that it fits, and strikes that one only; everything else passes unchanged.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final

from http_message import HEAD_BYTES_MAX, Message, read_message

_OUTCOME_CHARACTERS: Final = 400


class Kind(StrEnum):
    """What can happen to one request."""

    CUT_REQUEST = "cut_request"
    """The connection breaks before the request is whole."""
    CUT_RUNNING = "cut_running"
    """The connection breaks, towards both sides, once ClickHouse has the whole request."""
    LOSE_ANSWER = "lose_answer"
    """ClickHouse has answered; the connection breaks and nobody hears it."""
    DELAY_ANSWER = "delay_answer"
    """The answer comes late; the client may have given up."""
    DELAY_REQUEST = "delay_request"
    """The request arrives late; the client waits, or has given up."""
    LATE_REQUEST = "late_request"
    """The client's connection breaks at once, and the request arrives nevertheless, later."""


@dataclass
class Trouble:
    """One fault that waits for its request.

    Attributes:
        kind: what happens.
        about: words that the statement must contain; none fits every request.
        client: whose request; anybody's if it is empty.
        seconds: how long is waited, for the kinds that wait.
        struck_at: monotonic time when it hit a request; None until then.
        done_at: monotonic time when it was over.
        outcome: what ClickHouse said to a request that arrived late, for whoever studies a failure.
    """

    kind: Kind
    about: tuple[str, ...] = ()
    client: str = ""
    seconds: float = 0.0
    struck_at: float | None = None
    done_at: float | None = None
    outcome: str = ""

    def fits(self, client: str, statement: str) -> bool:
        """Tell whether a request of this client with this statement is what it waits for."""
        return self.client in ("", client) and all(word in statement for word in self.about)


@dataclass
class _Link:
    """One client's connection and the one to ClickHouse that serves it."""

    client: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server_reader: asyncio.StreamReader
    server_writer: asyncio.StreamWriter

    def cut(self) -> None:
        self.writer.transport.abort()
        self.server_writer.transport.abort()


@dataclass
class FaultProxy:
    """Passes everything on to `target_port`, in a thread of its own.

    Attributes:
        clients: who uses it; each has a free loopback port of its own, by which it is known.
        ports: by client, once it has started.
        requests: how many came.
    """

    target_port: int
    clients: tuple[str, ...]
    ports: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    _waiting: list[Trouble] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _late: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> None:
        """Return once it listens."""
        self._loop = asyncio.new_event_loop()
        listening = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening.set,), name="proxy", daemon=True)
        self._thread.start()
        if not listening.wait(10):
            raise RuntimeError("the proxy does not listen")

    def arm(self, trouble: Trouble) -> None:
        """Let a trouble wait for its request."""
        with self._lock:
            self._waiting.append(trouble)

    def close(self) -> None:
        """Stop; connections break, and requests that were to arrive late never do."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def _run(self, listening: Callable[[], None]) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(listening))

    async def _serve(self, listening: Callable[[], None]) -> None:
        self._stopping = asyncio.Event()
        servers = []
        for client in self.clients:
            serve = partial(self._client, client)
            servers.append(await asyncio.start_server(serve, "127.0.0.1", 0, limit=HEAD_BYTES_MAX))
            self.ports[client] = servers[-1].sockets[0].getsockname()[1]
        listening()
        await self._stopping.wait()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _client(self, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection("127.0.0.1", self.target_port, limit=HEAD_BYTES_MAX)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(client, reader, writer, *server)
        try:
            while await self._exchange(link):
                pass
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass
        finally:
            link.cut()

    async def _exchange(self, link: _Link) -> bool:
        """Pass one request and its answer on; False when the connection is over."""
        request = await read_message(link.reader)
        self.requests += 1
        trouble = self._strike(link.client, request)
        if trouble is None:
            await request.send(link.server_writer)
            return await self._answer(link)
        try:
            return await self._suffer(link, request, trouble)
        finally:
            if trouble.kind is not Kind.LATE_REQUEST:
                trouble.done_at = time.monotonic()

    async def _suffer(self, link: _Link, request: Message, trouble: Trouble) -> bool:
        if trouble.kind is Kind.LATE_REQUEST:
            late = asyncio.create_task(self._deliver_late(await request.whole(), trouble))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
            return False
        if trouble.kind is Kind.CUT_REQUEST:
            link.server_writer.write(request.head + request.opening[: len(request.opening) // 2])
            await link.server_writer.drain()
            return False
        if trouble.kind is Kind.DELAY_REQUEST:
            whole = await request.whole()
            await asyncio.sleep(trouble.seconds)
            link.server_writer.write(whole)
            return await self._answer(link)
        await request.send(link.server_writer)
        if trouble.kind is Kind.CUT_RUNNING:
            # The engine has read it by then, and is at work.
            await asyncio.sleep(trouble.seconds)
            return False
        answer = await read_message(link.server_reader)
        if trouble.kind is Kind.LOSE_ANSWER:
            trouble.outcome = _text(await answer.whole())
            return False
        await asyncio.sleep(trouble.seconds)
        await answer.send(link.writer)
        return True

    async def _answer(self, link: _Link) -> bool:
        answer = await read_message(link.server_reader)
        await answer.send(link.writer)
        return True

    async def _deliver_late(self, request: bytes, trouble: Trouble) -> None:
        try:
            await asyncio.sleep(trouble.seconds)
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.target_port, limit=HEAD_BYTES_MAX
            )
            try:
                writer.write(request)
                trouble.outcome = _text(await (await read_message(reader)).whole())
            finally:
                writer.transport.abort()
        except (OSError, EOFError) as error:
            trouble.outcome = f"it never arrived: {error!r}"
        finally:
            trouble.done_at = time.monotonic()

    def _strike(self, client: str, request: Message) -> Trouble | None:
        with self._lock:
            if not self._waiting:
                return None
            statement = request.statement
            for trouble in self._waiting:
                if trouble.fits(client, statement):
                    self._waiting.remove(trouble)
                    trouble.struck_at = time.monotonic()
                    return trouble
        return None


def _text(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    said = (head.split(b"\r\n", 1)[0] + b" " + body[:_OUTCOME_CHARACTERS]).decode("ascii", "replace")
    return "".join(character if character.isprintable() else " " for character in said).strip()

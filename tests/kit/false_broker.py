"""What listens where a broker should, and answers as a test says; and a frame as a broker sends it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from auditlog_consumer.fetch.wire import FETCH, METADATA

Pieces = Iterable[bytes]
Answer = Callable[[int, bytes], Pieces]
"""Takes the API's key and the request's correlation id as it came. No pieces are silence for ever, an OSError
between them closes the connection."""

_NO_TAGS: Final = b"\0"


@dataclass
class FalseBroker:
    """Listens on a port of 127.0.0.1; `requests` has the key of each API that was asked."""

    port: int
    requests: list[int] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Return its bootstrap address."""
        return f"127.0.0.1:{self.port}"

    def count(self, api: tuple[int, int]) -> int:
        """Return how often an API was asked."""
        return self.requests.count(api[0])


@contextmanager
def false_broker(answer: Answer) -> Iterator[FalseBroker]:
    """Answer every request while inside, each connection in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    broker, connections = FalseBroker(listener.getsockname()[1]), list[socket.socket]()

    def serve(connection: socket.socket) -> None:
        with suppress(OSError, struct.error), connection, connection.makefile("rb") as requests:
            while True:
                (size,) = struct.unpack(">i", requests.read(4))
                request = requests.read(size)
                key = struct.unpack_from(">h", request)[0]
                broker.requests.append(key)
                for piece in answer(key, request[4:8]):
                    connection.sendall(piece)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield broker
    finally:
        for each in (listener, *connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def framed(correlation: bytes, body: bytes) -> bytes:
    """Return an answer with its size and whose it is."""
    return struct.pack(">i", 4 + len(body)) + correlation + body


def leads(topic: str, host: str, port: int) -> bytes:
    """Return the body of an answer that one broker leads the topic's only partition."""
    name, where = topic.encode(), host.encode()
    return (
        struct.pack(">iii", 0, 1, 1)
        + (struct.pack(">h", len(where)) + where + struct.pack(">ih", port, -1))
        + (struct.pack(">hii", -1, 1, 1) + struct.pack(">hh", 0, len(name)) + name + b"\0")
        + struct.pack(">ihiiii", 1, 0, 0, 1, 0, 0)
    )


def fetched(topic: str, records: bytes, error: int = 0, end: int = 1 << 40) -> bytes:
    """Return the body of an answer with records of the topic's partition 0."""
    name = topic.encode()
    size = len(records) + 1
    assert size < 1 << 14
    return (
        (_NO_TAGS + struct.pack(">ihi", 0, 0, 0) + b"\2" + bytes([len(name) + 1]) + name + b"\2")
        + (struct.pack(">ihqqq", 0, error, end, end, 0) + b"\1" + struct.pack(">i", -1))
        + (bytes([size & 0x7F | 0x80, size >> 7]) + records + 3 * _NO_TAGS)
    )


@contextmanager
def false_leader(topic: str, fetch: Callable[[bytes], Pieces]) -> Iterator[FalseBroker]:
    """Run a broker that leads the topic's only partition, and answers fetches as a test says."""
    ports: list[int] = []

    def answer(key: int, correlation: bytes) -> Pieces:
        if key == METADATA[0]:
            return [framed(correlation, leads(topic, "127.0.0.1", ports[0]))]
        assert key == FETCH[0]
        return fetch(correlation)

    with false_broker(answer) as broker:
        ports.append(broker.port)
        yield broker

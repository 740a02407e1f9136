"""A door to a real ClickHouse behind which the queries of some accounts take long."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from storage.slow_door import SlowDoor


class HeldClickHouse(SlowDoor):
    """Passes connections on; what mentions one of `held` is kept for so many seconds first.

    Attributes:
        held: texts, for example account ids, and seconds.
    """

    def __init__(self, host: str, port: int) -> None:
        self.held: dict[bytes, float] = {}
        super().__init__(host, port)

    def _there(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(1 << 16):
                time.sleep(max((seconds for text, seconds in self.held.items() if text in data), default=0))
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)


@contextmanager
def held_clickhouse(url: str) -> Iterator[tuple[str, HeldClickHouse]]:
    """Yield the URL of a door to the ClickHouse at `url`, and the door."""
    at = urlsplit(url)
    with HeldClickHouse(str(at.hostname), int(at.port or 0)) as door:
        login = at.netloc.rpartition("@")[0]
        netloc = f"{login}@127.0.0.1:{door.port}" if login else f"127.0.0.1:{door.port}"
        yield urlunsplit(at._replace(netloc=netloc)), door

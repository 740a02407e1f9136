"""A door to an HTTP server that lets a request's beginning through at once and the rest later."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import Final, Self

END_OF_HEADERS: Final = b"\r\n\r\n"
BODY_BYTES: Final = 1_000
"""So much of a body that is held back goes through with the headers."""


class SlowDoor:
    """Listens on loopback and passes connections on, a pair of threads for each; `port` is where."""

    def __init__(self, host: str, port: int) -> None:
        self._held_seconds = 0.0
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._sockets:
            each.close()

    def hold(self, seconds: float) -> None:
        """Hold back the body of the next request for so long."""
        self._held_seconds = seconds

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._sockets += [near, far]
            threading.Thread(target=self._there, args=(near, far), daemon=True).start()
            threading.Thread(target=_copy, args=(far, near), daemon=True).start()

    def _there(self, near: socket.socket, far: socket.socket) -> None:
        try:
            while data := near.recv(1 << 16):
                if self._held_seconds:
                    data = self._hold_back(data, near, far)
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _hold_back(self, data: bytes, near: socket.socket, far: socket.socket) -> bytes:
        """Send headers and a little of the body, wait, and return what is still to be sent."""
        while len(data) - BODY_BYTES < data.find(END_OF_HEADERS) or END_OF_HEADERS not in data:
            data += near.recv(1 << 16)
        end = data.index(END_OF_HEADERS) + BODY_BYTES
        far.sendall(data[:end])
        time.sleep(self._held_seconds)
        self._held_seconds = 0.0
        return data[end:]


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return

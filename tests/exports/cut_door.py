"""A door to a server that slams in the middle of an answer and stays shut until it is opened."""

from __future__ import annotations

import socket
import threading
from typing import Self


class CutDoor:
    """Listens on loopback and passes connections on; `port` is where."""

    def __init__(self, host: str, port: int) -> None:
        self.cuts = 0
        self._target = (host, port)
        self._bytes_left: int | None = None
        self._is_shut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.close()
        self._slam()

    def shut_after(self, answered_bytes: int) -> None:
        """Slam once so many bytes have been answered."""
        self._bytes_left = answered_bytes

    def open(self) -> None:
        self._is_shut = False

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_shut:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._sockets += [near, far]
            threading.Thread(target=self._copy, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, True), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        try:
            while data := source.recv(1 << 14):
                target.sendall(data)
                if is_answer and self._bytes_left is not None:
                    self._bytes_left -= len(data)
                    if self._bytes_left <= 0:
                        self._bytes_left = None
                        self._is_shut = True
                        self.cuts += 1
                        self._slam()
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _slam(self) -> None:
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                each.close()
        self._sockets.clear()

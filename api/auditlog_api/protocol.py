"""The connection: HTTP as uvicorn speaks it, with bounds on what comes before a request is one.

The edge sees a request when its headers are complete. Until then uvicorn keeps all of them, however many they
are, and waits for the rest for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX: Final = 128 * 1024
"""Of a request's line and headers, about: what is refused with a problem is shorter."""
HEAD_SECONDS_MAX: Final = 20.0
"""From a connection, or a further request's first byte, until the headers are complete."""

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\ncache-control: no-store\r\n\r\n"
)


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose request does not begin in time or has too much of a beginning."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes, as long as there are not too many of them before the headers are complete."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._wait_for_head()
            if self._head_bytes > HEAD_BYTES_MAX:
                self._stop_waiting()
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._stop_waiting()
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for a further request; how long it may take to begin is the server's own limit."""
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS_MAX, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

"""What stands before a real schema registry in tests: it counts, delays, breaks and hides its answers."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

UNKNOWN_FROM: Final = 2_000_000_000
"""Ids from here on are answered as the registry would, without troubling it: thousands take it a minute."""
FAULTS: Final[dict[str, tuple[int, str, bytes]]] = {
    "error": (500, "application/json", b'{"error_code":50001,"message":"Error in the backend"}'),
    "overloaded": (503, "text/html", b"<html>no healthy upstream</html>" * 1_000),
    "forbidden": (403, "application/json", b'{"error_code":40301,"message":"Not allowed"}'),
    "redirect": (302, "text/html", b"<html>Please log in elsewhere</html>"),
    "login page": (200, "text/html", b"<html>Please log in</html>"),
    "cut json": (200, "application/json", b'{"schema":"{\\"type'),
    "other json": (200, "application/json", b'{"status":"UP"}'),
    "list": (200, "application/json", b"[]"),
    "number": (200, "application/json", b'{"schema":7}'),
    "no content": (204, "text/plain", b""),
    "wrong path": (404, "text/html", b"<html>Not found</html>"),
    "empty 404": (404, "text/plain", b""),
    "no such page": (404, "application/json", b'{"error_code":404,"message":"HTTP 404 Not Found"}'),
}
"""Answers that say nothing about an id."""


class RegistryFront:
    """Passes requests on to a registry.

    Attributes:
        registry_url: of the registry behind it.
        url: its own.
        latency_seconds: before each answer.
        faults: by schema id, the name of a fault; "hang" and "drop" answer nothing. The id 0 is for all.
        schemas: texts that are answered by id, whatever the registry has.
        forgotten: ids that are answered as unknown.
        asked: how often each id was asked for.
        together: the most requests that were being answered at once.
    """

    def __init__(self, registry_url: str) -> None:
        self.registry_url = registry_url
        self._registry = urllib.parse.urlsplit(registry_url)
        self.latency_seconds = 0.0
        self.faults: dict[int, str] = {}
        self.schemas: dict[int, str] = {}
        self.forgotten: set[int] = set()
        self.asked: Counter[int] = Counter()
        self.together = 0
        self._now = 0
        self._counting = threading.Lock()
        self._released = threading.Event()
        self._port = 0
        self.start()

    def start(self) -> None:
        """Listen, always on the same port."""
        handler = type("Handler", (_Handler,), {"front": self})
        self._released.clear()
        self._server = _Server(("127.0.0.1", self._port), handler)
        self._port = self._server.server_port
        self.url = f"http://127.0.0.1:{self._port}{self._registry.path}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more, and end all connections."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, str, bytes] | None:
        """Return status, type and body for a path; None to answer nothing."""
        schema_id = int(path.rpartition("/")[2])
        with self.counted(schema_id):
            self._released.wait(self.latency_seconds)
            fault = self.faults.get(schema_id, self.faults.get(0))
            if fault == "hang":
                self._released.wait(60)
            if fault in ("hang", "drop"):
                return None
            if fault is not None:
                return FAULTS[fault]
            if schema_id in self.schemas:
                return 200, "application/json", json.dumps({"schema": self.schemas[schema_id]}).encode()
            if schema_id >= UNKNOWN_FROM or schema_id in self.forgotten:
                body = f'{{"message":"Schema {schema_id} not found.","error_code":40403}}'
                return 404, "application/json", body.encode()
            return self._passed_on(path)

    @contextmanager
    def counted(self, schema_id: int) -> Iterator[None]:
        """Count a request while inside."""
        with self._counting:
            self.asked[schema_id] += 1
            self._now += 1
            self.together = max(self.together, self._now)
        yield
        with self._counting:
            self._now -= 1

    def _passed_on(self, path: str) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection(str(self._registry.hostname), self._registry.port, timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read()
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    """Ends its connections with itself."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for request in [*self._open]:
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ended is what the tests want."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    front: RegistryFront

    def do_GET(self) -> None:
        answer = self.front.answer(urllib.parse.urlsplit(self.path).path)
        if answer is None:
            self.close_connection = True
            return
        status, kind, body = answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

"""Answering a request: headers, pieces, and an error in the middle that no client can take for the end.

Source of the exception block: ClickHouse 25.11 and later write, behind whatever was sent already, the lines
``__exception__``, ``<tag>``, ``<message>``, ``<length> <tag>`` and ``__exception__``, the tag being the one
announced in `X-ClickHouse-Exception-Tag`, and then break the chunked transfer.
"""

from __future__ import annotations

import json
import secrets

from starlette.types import Send

from auditlog_local.clickhouse.codecs import encoder
from auditlog_local.clickhouse.errors import EngineError

_CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
    "Native": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "RowBinary": "application/octet-stream",
}


class Response:
    """One response in the making.

    Args:
        send: the ASGI channel.
        server_headers: headers that every response carries.
        version: the engine's version, named in errors.
    """

    def __init__(self, send: Send, server_headers: dict[str, str], version: str) -> None:
        self._send = send
        self._headers = server_headers
        self._version = version
        self._encoder = encoder(None)
        self._tag = secrets.token_hex(8)
        self.started = False

    async def start(self, data_format: str | None, coding: str | None, summary: dict[str, str]) -> None:
        """Send status 200 and the headers; ``data_format`` is None when the statement answers nothing."""
        headers = {**self._headers, "X-ClickHouse-Summary": json.dumps(summary, separators=(",", ":"))}
        if data_format is None:
            headers["Content-Length"] = "0"
        else:
            headers["Content-Type"] = _CONTENT_TYPES.get(data_format, "text/plain; charset=UTF-8")
            headers["X-ClickHouse-Format"] = data_format
            headers["X-ClickHouse-Exception-Tag"] = self._tag
            if coding is not None:
                headers["Content-Encoding"] = coding
            self._encoder = encoder(coding)
        await self._start(200, headers)

    async def _start(self, status: int, headers: dict[str, str]) -> None:
        self.started = True
        raw = [
            (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in headers.items()
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes) -> None:
        """Send a piece."""
        await self._body(self._encoder.write(data))

    async def _body(self, data: bytes) -> None:
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        """End a response that is whole."""
        await self._send({"type": "http.response.body", "body": self._encoder.finish(), "more_body": False})

    async def fail(self, error: EngineError) -> None:
        """Answer with an error; if the response has started, append the error and leave it unfinished."""
        text = error.body(self._version)
        if not self.started:
            headers = {
                **self._headers,
                "X-ClickHouse-Exception-Code": str(error.code),
                "Content-Type": "text/plain; charset=UTF-8",
                "Content-Length": str(len(text)),
            }
            await self._start(error.status, headers)
            await self._send({"type": "http.response.body", "body": text, "more_body": False})
            return
        tag = self._tag.encode()
        message = text.rstrip(b"\n")
        block = b"\r\n__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n" % (
            tag, message, len(message) + 1, tag,
        )  # fmt: skip
        await self._body(self._encoder.write(block) + self._encoder.finish())

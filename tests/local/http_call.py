"""Plain HTTP calls to a ClickHouse server, for tests that must see the bytes."""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Answer:
    """One answer: ``whole`` is False when the connection broke before the end of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True

    @property
    def code(self) -> int:
        """ClickHouse's error code, 0 without an error."""
        return int(self.headers.get("x-clickhouse-exception-code", "0"))

    @property
    def text(self) -> str:
        return self.body.decode()


def connection(url: str, timeout_seconds: float = 30) -> http.client.HTTPConnection:
    parts = urllib.parse.urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_seconds)


def target(url: str, params: Mapping[str, str]) -> str:
    database = urllib.parse.urlsplit(url).path.strip("/")
    query = {"database": database, **params} if database else dict(params)
    return "/?" + urllib.parse.urlencode(query) if query else "/"


def authorization(url: str) -> dict[str, str]:
    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return {}
    pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def call(
    url: str,
    body: bytes | str = b"",
    headers: Mapping[str, str] = NO_HEADERS,
    /,
    *,
    method: str = "POST",
    **params: str,
) -> Answer:
    """Send one request; keyword arguments go into the URL."""
    link = connection(url)
    try:
        content = body.encode() if isinstance(body, str) else body
        link.request(method, target(url, params), content, {**authorization(url), **headers})
        response = link.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        try:
            return Answer(response.status, found, response.read())
        except http.client.IncompleteRead as broken:
            return Answer(response.status, found, broken.partial, whole=False)
    finally:
        link.close()


def value(url: str, sql: str, **params: str) -> str:
    """The text of a query's one-line result; fails the test on an error."""
    answer = call(url, sql, **params)
    assert answer.status == 200, answer.text
    return answer.text.rstrip("\n")


def escaped(text: str) -> str:
    """A string as ClickHouse reads a URL parameter: escaped as in TabSeparated."""
    for raw, written in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0")):
        text = text.replace(raw, written)
    return text


def quoted(text: str) -> str:
    return "'" + escaped(text).replace("'", "\\'") + "'"


def rows(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.text
    return [json.loads(line) for line in answer.body.splitlines()]


def assert_gone(url: str, mark: str) -> None:
    """Wait until no statement with this mark in its text runs."""
    running = (
        f"SELECT count() FROM system.processes WHERE position(query, '{mark}') > 0 "
        "AND query NOT LIKE '%processes%'"
    )
    deadline = time.monotonic() + 10
    while value(url, running) != "0":
        assert time.monotonic() < deadline, "the statement still runs"
        time.sleep(0.05)

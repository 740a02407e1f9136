"""One HTTP request to ClickHouse, taken apart: who asks, in which session, with which settings.

Source of the reserved names: ClickHouse's `src/Server/HTTPHandler.cpp`.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from dataclasses import dataclass, field, replace

from starlette.datastructures import Headers, QueryParams

from auditlog_local.clickhouse.codecs import choose_coding
from auditlog_local.clickhouse.errors import (
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    EngineError,
)
from auditlog_local.clickhouse.form import boundary_of

# Not settings of the statement, though they travel in the URL beside them.
_RESERVED = frozenset(
    (
        "query", "database", "default_format", "compress", "decompress", "user", "password", "quota_key",
        "query_id", "stacktrace", "role", "buffer_size", "wait_end_of_query", "session_id", "session_timeout",
        "session_check", "close_session", "client_protocol_version",
    )
)  # fmt: skip
_BUFFER_BYTES_MAX = 64 << 20
SESSION_TIMEOUT_SECONDS = 60
SESSION_TIMEOUT_SECONDS_MAX = 3600


@dataclass(frozen=True)
class Session:
    """Which session a request belongs to."""

    id: str
    timeout_seconds: int
    must_exist: bool
    close_after: bool


@dataclass(frozen=True)
class QueryRequest:
    """What the URL and the headers say; the body is read separately."""

    user: str
    password: str
    query: bytes
    database: str | None
    default_format: str
    query_id: str
    params: dict[str, str]
    settings: dict[str, str]
    read_only: bool
    session: Session | None
    buffer_bytes: int
    wait_end_of_query: bool
    request_coding: str
    response_coding: str | None
    roles: tuple[str, ...] = field(default=())
    form_boundary: str | None = None

    def with_form(self, fields: dict[str, bytes]) -> QueryRequest:
        """The request with the parameters that a form's fields bring."""
        found = {
            name[6:]: value.decode("utf-8", "surrogateescape")
            for name, value in fields.items()
            if name.startswith("param_")
        }
        return replace(self, params={**self.params, **found})


def read_request(method: str, url: QueryParams, headers: Headers) -> QueryRequest:
    """Take the request apart.

    Raises:
        EngineError: credentials given twice or malformed, a number that is none, or a feature of
            ClickHouse's HTTP interface that is not served here (block compression).
    """
    if url.get("decompress") == "1" or url.get("compress") == "1":
        raise EngineError(
            NOT_IMPLEMENTED, "use Content-Encoding and Accept-Encoding instead of compress/decompress"
        )
    user, password = _credentials(url, headers)
    settings = {
        name: value
        for name, value in url.multi_items()
        if name not in _RESERVED and not name.startswith("param_")
    }
    compresses = settings.get("enable_http_compression", "0") not in ("0", "false")
    return QueryRequest(
        user=user,
        password=password,
        query=url.get("query", "").encode("utf-8", "surrogateescape"),
        database=url.get("database") or headers.get("x-clickhouse-database") or None,
        default_format=headers.get("x-clickhouse-format") or url.get("default_format") or "TabSeparated",
        query_id=url.get("query_id") or headers.get("x-clickhouse-query-id") or str(uuid.uuid4()),
        params={name[6:]: value for name, value in url.multi_items() if name.startswith("param_")},
        settings=settings,
        read_only=method in ("GET", "HEAD"),
        session=_session(url),
        buffer_bytes=min(max(_number(url, "buffer_size", 1 << 20), 1), _BUFFER_BYTES_MAX),
        wait_end_of_query=url.get("wait_end_of_query") in ("1", "true"),
        request_coding=headers.get("content-encoding", ""),
        response_coding=choose_coding(headers.get("accept-encoding", "")) if compresses else None,
        roles=tuple(url.getlist("role")),
        form_boundary=boundary_of(headers.get("content-type", "")),
    )


def _number(url: QueryParams, name: str, default: int) -> int:
    value = url.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit()):
        raise EngineError(BAD_ARGUMENTS, f"{name} must be a whole number, not {value!r}")
    return int(value)


def _session(url: QueryParams) -> Session | None:
    session_id = url.get("session_id")
    if not session_id:
        return None
    timeout = _number(url, "session_timeout", SESSION_TIMEOUT_SECONDS)
    if timeout > SESSION_TIMEOUT_SECONDS_MAX:
        raise EngineError(BAD_ARGUMENTS, f"session_timeout is at most {SESSION_TIMEOUT_SECONDS_MAX} seconds")
    return Session(session_id, timeout, url.get("session_check") == "1", url.get("close_session") == "1")


def _credentials(url: QueryParams, headers: Headers) -> tuple[str, str]:
    basic = headers.get("authorization", "")
    by_header = headers.get("x-clickhouse-user"), headers.get("x-clickhouse-key")
    by_url = url.get("user"), url.get("password")
    if basic and any(by_header):
        raise EngineError(
            AUTHENTICATION_FAILED, "Invalid authentication: use either X-ClickHouse headers or Authorization"
        )
    if any(by_header):
        return by_header[0] or "default", by_header[1] or ""
    if basic:
        scheme, _, value = basic.partition(" ")
        if scheme.lower() != "basic":
            raise EngineError(
                AUTHENTICATION_FAILED, f"Invalid authentication: {scheme!r} is not supported here"
            )
        try:
            user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise EngineError(AUTHENTICATION_FAILED, "Invalid authentication: malformed Basic") from error
        return user or "default", password
    return by_url[0] or "default", by_url[1] or ""

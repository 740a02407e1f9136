"""Problems: every error of the API as problem+json (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from auditlog_schemas.errors import (
    AuditError,
    Backpressure,
    BadFilter,
    ConfigError,
    Forbidden,
    NotFound,
    QueryError,
    TransientError,
)

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:auditlog:problem:"
RETRY_SECONDS: Final = 2

_PARAMETERS: Final = {
    "actions": "action",
    "groups": "group",
    "actor_id": "actor",
    "entity_type": "entity",
    "entity_id": "entity",
    "search": "q",
    "bars_max": "bars",
}
"""What parts of a filter are called in a query, where it differs."""

_log = structlog.get_logger("auditlog.api")


class Problem(Exception):
    """A request that is answered with an error.

    Attributes:
        status: the HTTP status.
        name: what went wrong in a word or two, the last part of the problem's type.
        detail: what went wrong here and what to do, in one sentence.
        headers: further headers of the answer.
        members: further members of the document.
    """

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(f"{status} {name}: {detail}")
        self.status = status
        self.name = name
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def document(self) -> dict[str, Any]:
        """Return the problem+json document."""
        return {
            "type": TYPE_PREFIX + self.name,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }

    def response(self) -> Response:
        """Return the answer."""
        return Response(to_json(self.document()), self.status, self.headers, MEDIA_TYPE)


def not_found() -> Problem:
    """Return the one answer to everything that is not there, or not there for this reader.

    Its document is the same for all of them, so that nobody learns from it what others have.
    """
    return Problem(404, "not-found", "there is nothing at this address that this token may read")


def no_access(name: str, detail: str) -> Problem:
    """Return the answer to a request whose token is missing or not good."""
    return Problem(401, name, detail, {"WWW-Authenticate": 'Bearer realm="auditlog"'})


def problem_of(error: AuditError) -> Problem:
    """Return what an error of the parts below means to who asked."""
    if isinstance(error, NotFound):
        return not_found()
    if isinstance(error, BadFilter):
        return _no_such_page() if str(error).startswith("cursor:") else _bad_filter(error)
    if isinstance(error, Forbidden):
        return Problem(403, "forbidden", str(error))
    if isinstance(error, QueryError):
        return Problem(422, "query-too-large", str(error))
    if isinstance(error, TransientError | Backpressure):
        _log.warning("unavailable", error=str(error))
        detail = "the log cannot be read now; try again"
        return Problem(503, "unavailable", detail, {"Retry-After": str(RETRY_SECONDS)})
    _log.error("failed", error=str(error))
    if isinstance(error, ConfigError):
        # Somebody who runs the log has to do something first; then the same request is answered.
        detail = "the log is not set up for this now; the server's log says why"
        return Problem(503, "unavailable", detail, {"Retry-After": str(RETRY_SECONDS)})
    return Problem(500, "internal", "this could not be answered; the server's log says why")


def install_problems(app: FastAPI) -> None:
    """Make every error that leaves a route, or that finds none, a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(AuditError, _on_audit_error)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)


def bad_parameters(errors: list[dict[str, str]]) -> Problem:
    """Return the answer to parameters or a body that cannot be used.

    Args:
        errors: for each its ``in`` (query, path, body, header), ``name`` and ``detail``.
    """
    detail = "; ".join(f"{error['name'] or error['in']}: {error['detail']}" for error in errors)
    return Problem(400, "bad-request", detail, errors=errors)


def _no_such_page() -> Problem:
    # Another account's cursor is answered like one that never was.
    detail = "there is no such page: the cursor is cut or belongs to another question; ask again without it"
    return Problem(404, "no-such-page", detail)


def _bad_filter(error: BadFilter) -> Problem:
    members = {name: getattr(error, name) for name in ("position", "expected") if hasattr(error, name)}
    name, _, detail = str(error).partition(": ")
    found = {"in": "query", "name": _PARAMETERS.get(name, name), "detail": detail}
    return Problem(400, "bad-request", f"{found['name']}: {detail}", errors=[found], **members)


async def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _on_audit_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AuditError)
    return problem_of(error).response()


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return not_found().response()
    status = HTTPStatus(error.status_code)
    if status == 405:
        allowed = ", ".join(_allowed(request))
        detail = f"this address takes {allowed}"
        return Problem(405, "method-not-allowed", detail, {"Allow": allowed}).response()
    name = status.phrase.lower().replace(" ", "-")
    return Problem(status, name, error.detail or status.description, error.headers).response()


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes at this address: the router names those of the first one."""
    return [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


async def _on_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return bad_parameters([_invalid(found) for found in error.errors()[:20]]).response()


def _invalid(found: Mapping[str, Any]) -> dict[str, str]:
    where, *names = (str(part) for part in found["loc"])
    name = ".".join(names)
    if found["type"] == "extra_forbidden":
        return {"in": where, "name": name[:80], "detail": "is not known here"}
    return {"in": where, "name": name[:80], "detail": str(found["msg"])[:200]}

"""Errors as people meet them: no session, an ended one, nothing there, something wrong, try again later."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from auditlog_api.pages.rendering import page, theme_of
from auditlog_api.problem import Problem, problem_of
from auditlog_schemas.errors import AuditError

ENDED: Final = frozenset({"token-expired", "token-revoked"})


@dataclass(frozen=True, slots=True)
class Words:
    """What a page says about an error."""

    mark: str
    heading: str
    text: str


_SIGN_IN: Final = Words(
    "→", "Sign in", "These pages need a token. Open them from your application, or enter one here."
)
_ENDED: Final = Words(
    "⏱", "Your session has ended", "The token that opened this page is no longer good. Get a fresh one."
)
_REFUSED: Final = Words("→", "That token does not work", "It was mistyped, cut, or is not known here.")
_NOTHING: Final = Words("∅", "Nothing here", "There is nothing at this address that you may read.")
_BUSY: Final = Words("…", "Too busy just now", "Many requests are under way. Try again in a moment.")
_AWAY: Final = Words("…", "The log cannot be read now", "No event is lost by this. Try again in a moment.")


class PageRoute(APIRoute):
    """A route for people: its errors are pages, for whoever accepts HTML. A program gets problem+json."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with the errors that it may raise answered."""
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except (Problem, AuditError, HTTPException, RequestValidationError) as error:
                if "text/html" not in request.headers.get("accept", ""):
                    raise
                return trouble_page(request, error)

        return handle_or_explain


def trouble_page(request: Request, error: Exception) -> Response:
    """Return the page for an error of a page's route."""
    problem = _problem(error)
    words = _words(problem)
    settings = request.app.state.backend.settings
    needs_token = problem.status == 401
    again = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    answer = page(
        "message.html",
        problem.status,
        theme=theme_of(request),
        zone="utc",
        mark=words.mark,
        heading=words.heading,
        text=words.text,
        sign_in_url=_with_next(settings.sign_in_url, again) if needs_token else None,
        with_form=needs_token,
        next=again if request.method == "GET" else "/",
        retry=again if problem.status in (429, 503) else None,
    )
    answer.headers.update({name: value for name, value in problem.headers.items() if name != "Content-Type"})
    return answer


def _with_next(sign_in_url: str | None, path: str) -> str | None:
    """Return the host's address with the page that a fresh token should lead to."""
    if sign_in_url is None:
        return None
    return f"{sign_in_url}{'&' if '?' in sign_in_url else '?'}{urlencode({'next': path})}"


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, AuditError):
        return problem_of(error)
    if isinstance(error, RequestValidationError):
        return Problem(400, "bad-request", "The address has a part that cannot be read.")
    assert isinstance(error, HTTPException)
    return Problem(error.status_code, "refused", error.detail)


def _words(problem: Problem) -> Words:
    if problem.name in ENDED:
        return _ENDED
    if problem.status == 401:
        return _SIGN_IN if problem.name == "token-missing" else _REFUSED
    known = {404: _NOTHING, 429: _BUSY, 503: _AWAY}.get(problem.status)
    return known or Words(
        "!", "This page cannot be shown", f"{problem.detail[:1].upper()}{problem.detail[1:]}."
    )

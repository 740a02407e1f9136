"""Sessions of pages: a cookie that holds the token with which a page was opened.

`/sign-in` takes a token, from a form or from a link, puts it into the cookie and leads on to a page. There is
no state on the server: the session ends when its token does.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from auditlog_api.access import Access, Reader
from auditlog_api.origin import from_own_page, is_https, session_cookie
from auditlog_api.pages.trouble import PageRoute
from auditlog_api.parameters import form_fields
from auditlog_api.problem import Problem, bad_parameters

HOME: Final = "/"

router: Final = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/sign-in")
async def sign_in_by_link(
    request: Request, token: Annotated[str, Query()], next: Annotated[str, Query()] = HOME
) -> Response:
    """Sign in with a token from a link, and go to a page of this server.

    The link may stand on any page, so that hosts can have one. It has to be followed by a window: nothing
    inside of another page signs anybody in.
    """
    if request.headers.get("sec-fetch-dest", "document") != "document":
        raise Problem(403, "forbidden", "this is a link to open in a window, and nothing to load into a page")
    return await sign_in(request, token, next)


@router.post("/sign-in")
async def sign_in_by_form(request: Request) -> Response:
    """Sign in with a token from a form of ours, and go to a page of this server."""
    _require_own_page(request)
    fields = await form_fields(request)
    if "token" not in fields:
        raise bad_parameters([{"in": "body", "name": "token", "detail": "is missing"}])
    return await sign_in(request, fields["token"], fields.get("next", HOME))


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Forget the token."""
    _require_own_page(request)
    response = RedirectResponse(HOME, 303)
    response.delete_cookie(
        session_cookie(request), path="/", secure=is_https(request), httponly=True, samesite="lax"
    )
    return response


async def sign_in(request: Request, token: str, next: str) -> Response:
    """Return the answer that puts a token into the session and leads on.

    Raises:
        Problem: 401, the token is not good; 400, `next` does not stay on this server.
    """
    if not is_local_path(next):
        raise bad_parameters([{"in": "query", "name": "next", "detail": "must be a path of this server"}])
    access: Access = request.app.state.backend.access
    reader = await access.reader(token.strip(), request.client)
    response = RedirectResponse(next, 303, {"Referrer-Policy": "no-referrer"})
    put_session(request, response, token.strip(), reader)
    return response


def put_session(request: Request, response: Response, token: str, reader: Reader) -> None:
    """Let an answer set the cookie; it ends with the token, or with the browser's session."""
    response.set_cookie(
        session_cookie(request),
        token,
        expires=reader.expires_at,
        path="/",
        secure=is_https(request),
        httponly=True,
        samesite="lax",
    )


def is_local_path(path: str) -> bool:
    """Tell whether a browser that is sent to `path` stays on this server."""
    # "//host", "/\host" and "/<tab>/host" are other servers to a browser.
    return path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() and "\\" not in path


def _require_own_page(request: Request) -> None:
    # Or another site's form could sign people in to an account of its choice, and out of theirs.
    if not from_own_page(request):
        raise Problem(403, "forbidden", "this form has to be sent by a page of this server")

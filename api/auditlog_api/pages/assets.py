"""The files that pages and hosts load: one stylesheet, one module, one icon, and the element."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

ELEMENT: Final = "audit-log.js"
"""The element's script; hosts load it from /embed/ of this server."""

_TYPES: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    ELEMENT: "text/javascript; charset=utf-8",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_FOR_A_WHILE: Final = "public, max-age=300, stale-while-revalidate=86400"


def asset_path(name: str) -> str:
    """Return the path of a file of pages; it changes with its content, so that browsers may keep it."""
    return f"/assets/{_digest(name)}/{name}"


def asset(name: str) -> Response | None:
    """Return a file of the pages; None when there is no such file."""
    if name not in _TYPES or name == ELEMENT:
        return None
    return Response(_content(name), headers={"Cache-Control": _FOR_EVER}, media_type=_TYPES[name])


def element_script(request: Request) -> Response:
    """Return the element's script, which any site may load."""
    tag = f'"{_digest(ELEMENT)}"'
    headers = {
        "Cache-Control": _FOR_A_WHILE,
        "ETag": tag,
        # Modules are loaded by CORS; the script holds nothing that is anybody's.
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(_content(ELEMENT), headers=headers, media_type=_TYPES[ELEMENT])


@cache
def _content(name: str) -> bytes:
    return files("auditlog_api.pages").joinpath("static", name).read_bytes()


@cache
def _digest(name: str) -> str:
    return sha256(_content(name)).hexdigest()[:16]

"""What a browser says about a request: over HTTPS or not, from a page of ours or not; and a session's cookie.

Sec-Fetch-Site is of the W3C's Fetch Metadata, the prefix ``__Host-`` of RFC 6265bis, section 4.1.3.2.
"""

from __future__ import annotations

from typing import Final

from fastapi import Request

SESSION_COOKIE: Final = "auditlog_session"


def is_https(request: Request) -> bool:
    """Tell whether the browser speaks HTTPS, with this process or with a proxy in front of it."""
    behind_https: bool = request.app.state.backend.settings.behind_https
    return behind_https or request.scope["scheme"] == "https"


def session_cookie(request: Request) -> str:
    """Return the name of the cookie that holds a session.

    Over HTTPS it has a prefix with which a browser takes it from this very host only, and over HTTPS only:
    no neighbouring host and nobody on the way can put one there. Over plain HTTP browsers refuse that name.
    """
    return f"__Host-{SESSION_COOKIE}" if is_https(request) else SESSION_COOKIE


def from_own_page(request: Request) -> bool:
    """Tell whether the browser says that a page of this very origin made the request.

    Older browsers do not send Sec-Fetch-Site; of those, Origin has to be ours.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    scheme = "https" if is_https(request) else "http"
    return request.headers.get("origin") == f"{scheme}://{request.headers.get('host')}"

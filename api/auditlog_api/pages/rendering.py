"""Templates to HTML, and the headers that every page is sent with."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from auditlog_api.pages.assets import asset_path
from auditlog_api.pages.shown_text import finalized, marked
from auditlog_storage.moments import rfc3339

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
"""No script and no style but our own files: text of an event that became markup would still do nothing."""

REFERRER_POLICY: Final = "same-origin"
"""With ``no-referrer`` browsers would send forms with ``Origin: null``, and older ones say nothing else."""

THEME_COOKIE: Final = "auditlog_theme"
"""Set by the page's script: what somebody chose against the system's setting."""

_FORMS: Final = {
    "second": "%Y-%m-%d %H:%M:%S",
    "minute": "%Y-%m-%d %H:%M",
    "clock": "%H:%M:%S",
    "time": "%H:%M",
    "day": "%-d %b",
    "month": "%b %Y",
}


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page made of a template."""
    html = _environment().get_template(template).render(values)
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": REFERRER_POLICY}
    return HTMLResponse(html, status, headers)


def theme_of(request: Request) -> str:
    """Return ``light`` or ``dark`` when somebody chose one, else the empty text: the system decides."""
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in ("light", "dark") else ""


def utc_text(moment: datetime, form: str) -> str:
    """Return a time in UTC, in one of `_FORMS`, or ``full``, which is to the microsecond."""
    moment = moment.astimezone(UTC)
    if form == "full":
        return rfc3339(moment).replace("T", " ").replace("Z", " UTC")
    return moment.strftime(_FORMS[form])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("auditlog_api.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["asset"] = asset_path
    environment.filters |= {
        "marked": marked,
        "iso": rfc3339,
        "utc": utc_text,
        "number": "{:,}".format,
    }
    return environment

"""The sample host's web application: a few pages, and the little backend that opens the audit log for them.

What a real host needs is the two functions that mint a token; everything else here is a stage for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from auditlog_api.viewer_tokens import VIEWER_SECONDS_MAX, ViewerKeys, item_of_key
from auditlog_cli.demo.host.records import KINDS, listed, record_of
from auditlog_cli.demo.vendor import Vendor
from auditlog_schemas.errors import BadFilter
from auditlog_schemas.inert import inert
from auditlog_storage.filters import Item

_STATIC: Final = {"host.css": "text/css", "host.js": "text/javascript"}


@dataclass(frozen=True)
class Host:
    """What the host knows.

    Attributes:
        vendor: whose application it is.
        api_url: where the audit log's API and pages are, as browsers reach them.
        keys: shared with the API: whoever has them opens any account's log.
        first: the item on whose page a visit begins.
    """

    vendor: Vendor
    api_url: str
    keys: ViewerKeys
    first: Item


def host_app(host: Host) -> Starlette:
    """Return the application."""
    pages = _Pages(host)
    return Starlette(
        routes=[
            Route("/", pages.first),
            Route("/audit-logs", pages.open_audit_logs),
            Route("/audit-log-token", pages.audit_log_token),
            Route("/static/{name}", _static),
            Route("/{type}", pages.listing),
            Route("/{type}/{id}", pages.detail),
        ]
    )


class _Pages:
    """The pages. A real host would know first of all who is signed in, and what they may see."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._templates = Environment(
            loader=PackageLoader("auditlog_cli.demo.host"), autoescape=True, finalize=_inert
        )

    async def first(self, _request: Request) -> Response:
        return RedirectResponse(f"/{self._host.first.key}", 303)

    async def listing(self, request: Request) -> Response:
        type = _known(request.path_params["type"])
        return self._page("list.html", type=type, records=listed(self._host.vendor, type))

    async def detail(self, request: Request) -> Response:
        type, id = _known(request.path_params["type"]), request.path_params["id"]
        record = record_of(self._host.vendor, type, id)
        return self._page("detail.html", type=type, record=record, token=self._token(Item(type, id)))

    async def audit_log_token(self, request: Request) -> Response:
        """Return a fresh token for the item that the element on a page shows."""
        try:
            item = item_of_key(request.query_params.get("item", ""))
        except BadFilter as error:
            raise HTTPException(400, str(error)) from None
        _known(item.type)
        return PlainTextResponse(self._token(item), headers={"Cache-Control": "no-store"})

    async def open_audit_logs(self, request: Request) -> Response:
        """Sign in to the page of the whole log, and go there: Settings, Audit logs."""
        account = self._host.vendor.account_id
        next = request.query_params.get("next", f"/accounts/{account}/audit-logs")
        query = urlencode({"token": self._token(None), "next": next})
        headers = {"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
        return RedirectResponse(f"{self._host.api_url}/sign-in?{query}", 303, headers)

    def _token(self, item: Item | None) -> str:
        token, _ = self._host.keys.mint(self._host.vendor.account_id, item, VIEWER_SECONDS_MAX)
        return token

    def _page(self, template: str, **values: object) -> Response:
        html = self._templates.get_template(template).render(
            **values, kinds=KINDS, api_url=self._host.api_url, account=self._host.vendor.account_id
        )
        api_url = self._host.api_url
        policy = (
            f"default-src 'none'; script-src 'self' {api_url}; connect-src 'self' {api_url}; "
            "style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
        return HTMLResponse(html, headers=headers)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        raise HTTPException(404)
    content = files("auditlog_cli.demo.host").joinpath("static", name).read_bytes()
    return Response(content, media_type=_STATIC[name])


def _known(type: str) -> str:
    if type not in KINDS:
        raise HTTPException(404)
    return type


def _inert(value: object) -> object:
    return inert(value) if type(value) is str else value

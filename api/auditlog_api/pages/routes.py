"""The routes of the pages. They answer people: errors are pages too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from auditlog_api.access import Reader, ReadsLog, SignedIn
from auditlog_api.backend import Backend, TheBackend
from auditlog_api.pages import assets
from auditlog_api.pages.around import around, place_of
from auditlog_api.pages.event_view import EventViews
from auditlog_api.pages.log_page import context_of, filter_context, find, item_link
from auditlog_api.pages.rendering import page
from auditlog_api.pages.trouble import PageRoute
from auditlog_api.pages.view import View, read_utc, read_view, times_text
from auditlog_api.parameters import path_item
from auditlog_api.problem import not_found
from auditlog_storage.filters import Item

router: Final = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/")
async def home(reader: SignedIn) -> Response:
    """Go to the reader's own log, or item."""
    if not reader.account_id:
        # An operator may read any account's: the path must say whose.
        raise not_found()
    return RedirectResponse(place_of(reader, reader.item).path, 303)


@router.get("/accounts/{account}/audit-logs")
async def log(request: Request, reader: ReadsLog, backend: TheBackend) -> Response:
    """Show an account's whole log."""
    if reader.item is not None:
        raise not_found()
    return await _log(request, reader, backend, None)


@router.get("/accounts/{account}/items/{entity_type}/{entity_id}")
async def item_log(
    request: Request, reader: ReadsLog, backend: TheBackend, entity_type: str, entity_id: str
) -> Response:
    """Show one item's events."""
    item = path_item(entity_type, entity_id)
    if reader.item is not None and reader.item != item:
        raise not_found()
    return await _log(request, reader, backend, item)


@router.get("/accounts/{account}/audit-logs/{event_id}")
async def event(request: Request, reader: ReadsLog, backend: TheBackend, event_id: str) -> Response:
    """Show one event."""
    try:
        wanted = UUID(event_id)
    except ValueError:
        raise not_found() from None
    stored = await backend.read(reader, lambda log: log.event(reader.account_id, wanted, reader.item))
    zone = {"zone": request.query_params.get("zone", "")}
    view = read_view(place_of(reader, reader.item), zone, datetime.now(UTC))
    shown = EventViews(backend.catalog, view).whole(stored)
    return page("event.html", **around(request, reader, view), shown=shown)


@router.get("/assets/{digest}/{name}")
async def asset(digest: str, name: str) -> Response:  # noqa: ARG001 - it only makes the address a new one
    """Return a file that pages need."""
    found = assets.asset(name)
    if found is None:
        raise not_found()
    return found


@router.get("/embed/audit-log.js")
async def element(request: Request) -> Response:
    """Return the script of the element that hosts embed."""
    return assets.element_script(request)


async def _log(request: Request, reader: Reader, backend: Backend, item: Item | None) -> Response:
    view = read_view(place_of(reader, item), request.query_params, datetime.now(UTC))
    if (href := _typed_range(request, view)) is not None:
        return RedirectResponse(href, 303)
    context = around(request, reader, view) | filter_context(view)
    if view.mistake is not None:
        bare = item and item_link(EventViews(backend.catalog, view), item, ())
        return page("log.html", 400, **context, shown=None, item=bare)
    found = await find(backend, reader, view, item)
    return page("log.html", **context, **context_of(backend, view, item, found))


def _typed_range(request: Request, view: View) -> str | None:
    """Return the URL of the view within the two times of the form; None when they are empty."""
    since, until = (read_utc(name, request.query_params.get(name)) for name in ("from", "until"))
    if (since is None and until is None) or view.mistake is not None:
        return None
    return view.href_within(times_text(since, until))

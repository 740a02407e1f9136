"""Events over HTTP: an account's, an item's, and one by its id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from auditlog_api.accept import chosen
from auditlog_api.access import ReadsLog
from auditlog_api.backend import Backend, TheBackend
from auditlog_api.forms import CONTENT_TYPES, CSV, FORMS, JSON, JSON_LINES, NDJSON, as_json, page_body
from auditlog_api.models import REFUSED, Event, EventPage, answers
from auditlog_api.parameters import EventQuery, EventsQuery, PageQuery, filter_of, page_address, path_item
from auditlog_schemas.errors import NotFound
from auditlog_storage.filters import EventFilter, Item
from auditlog_storage.reader import LogReader, Page

router: Final = APIRouter(tags=["events"])

_PAGE: Final = answers(
    EventPage,
    *(*REFUSED, 406, 422),
    description="A page of events, newest first.",
    content={form: {"schema": {"type": "string"}} for form in (JSON_LINES, NDJSON, CSV)},
    headers={
        "Link": {
            "description": 'rel="next" (older) and rel="prev" (newer), RFC 8288',
            "schema": {"type": "string"},
        }
    },
)


@router.get("/v1/accounts/{account}/events", responses=_PAGE)
async def list_events(
    request: Request, reader: ReadsLog, backend: TheBackend, query: Annotated[EventsQuery, Query()]
) -> Response:
    """Return a page of the account's events."""
    filter = filter_of(request, reader, query)

    def read(log: LogReader) -> Page:
        return log.timeline(reader.account_id, filter, query.limit, query.cursor)

    return await _page(request, reader, backend, query, filter, read)


@router.get("/v1/accounts/{account}/items/{entity_type}/{entity_id}/events", responses=_PAGE)
async def list_item_events(
    request: Request,
    reader: ReadsLog,
    backend: TheBackend,
    query: Annotated[PageQuery, Query()],
    entity_type: str,
    entity_id: str,
) -> Response:
    """Return a page of the events whose entity or related entity is this item.

    An item of which the account's log holds nothing is not found, but for a viewer token of this very item.
    """
    item = path_item(entity_type, entity_id)
    filter = filter_of(request, reader, query, item)

    def read(log: LogReader) -> Page:
        page = log.timeline(reader.account_id, filter, query.limit, query.cursor)
        if not page.events and reader.item is None:
            _require_known(log, reader.account_id, item)
        return page

    return await _page(request, reader, backend, query, filter, read)


@router.get(
    "/v1/accounts/{account}/events/{event_id}",
    responses=answers(Event, *REFUSED, 406),
)
async def get_event(
    request: Request,
    reader: ReadsLog,
    backend: TheBackend,
    query: Annotated[EventQuery, Query()],
    event_id: UUID,
) -> Response:
    """Return one event of the account, or of the item of a viewer token."""
    chosen(request.headers.get("accept"), (JSON,))
    stored = await backend.read(reader, lambda log: log.event(reader.account_id, event_id, reader.item))
    return Response(to_json(as_json(backend.catalog, query.sentences)(stored)), media_type=JSON)


async def _page(
    request: Request,
    reader: ReadsLog,
    backend: Backend,
    query: PageQuery,
    filter: EventFilter,
    read: Callable[[LogReader], Page],
) -> Response:
    form = chosen(request.headers.get("accept"), FORMS)
    event_as_json = as_json(backend.catalog, query.sentences)

    def work(log: LogReader) -> tuple[Page, bytes]:
        page = read(log)
        return page, page_body(page, form, event_as_json)

    page, body = await backend.read(reader, work)
    cursors = {"next": page.next_cursor, "prev": page.previous_cursor}
    links = [
        f'<{page_address(request, query, filter, cursor)}>; rel="{rel}"'
        for rel, cursor in cursors.items()
        if cursor is not None
    ]
    headers = {"Vary": "Accept"} | ({"Link": ", ".join(links)} if links else {})
    return Response(body, headers=headers, media_type=CONTENT_TYPES[form])


def _require_known(log: LogReader, account_id: str, item: Item) -> None:
    if not log.timeline(account_id, EventFilter(item=item), limit=1).events:
        raise NotFound(f"account {account_id} has no item {item.key}")

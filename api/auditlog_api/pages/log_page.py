"""The page of a log: asks for everything that it shows at the same time, and puts it together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Final, TypeVar

from auditlog_api.access import Reader
from auditlog_api.backend import Backend
from auditlog_api.pages.chart import chart_of
from auditlog_api.pages.completeness import Completeness
from auditlog_api.pages.event_view import EventViews, ItemLink
from auditlog_api.pages.filters import (
    EXAMPLES,
    FACET_VALUES,
    FACETS,
    FacetLinks,
    facet_filter,
    facet_links,
    quick_ranges,
    term_links,
)
from auditlog_api.pages.view import View, times_text
from auditlog_api.problem import Problem, problem_of
from auditlog_schemas.errors import NotFound, QueryError, TransientError
from auditlog_schemas.event import Entity
from auditlog_storage.facets import Facet
from auditlog_storage.filters import EventFilter, Item
from auditlog_storage.histogram import Histogram
from auditlog_storage.reader import LogReader, Page
from auditlog_storage.search import BadSearch
from auditlog_storage.stored_event import StoredEvent

T = TypeVar("T")

BARS_MAX: Final = 90
# The page's script puts its own times in their place.
_MARKED: Final = (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Found:
    """What the log says about a view. A text in place of a part says why that part is missing."""

    events: Page
    open_event: StoredEvent | None
    histogram: Histogram | str
    completeness: Completeness
    facets: list[Facet | str]


@dataclass(frozen=True, slots=True)
class MistakeView:
    """A mistake in a search; the search is cut in three around the character where it is."""

    number: int
    problem: str
    expected: str
    before: str
    at: str
    after: str


async def find(backend: Backend, reader: Reader, view: View, item: Item | None) -> Found:
    """Ask for all that a view shows.

    Raises:
        AuditError, Problem: the events cannot be had. Without chart or facets the page is good enough.
    """
    account = reader.account_id
    filter = EventFilter(item=item, search=view.search)

    def facet(field: str) -> Callable[[LogReader], Facet]:
        own = facet_filter(filter, field)
        return lambda log: log.facet(account, own, field, FACET_VALUES)

    parts = asyncio.gather(
        backend.read(reader, lambda log: log.timeline(account, filter, view.rows, view.cursor)),
        _open_event(backend, reader, view),
        _or_why(backend.read(reader, lambda log: log.histogram(account, filter, BARS_MAX))),
        backend.completeness.now(),
    )
    facets = asyncio.gather(*(_or_why(backend.read(reader, facet(field))) for field, _ in FACETS))
    (events, open_event, histogram, completeness), found = await asyncio.gather(parts, facets)
    return Found(events, open_event, histogram, completeness, found)


def context_of(backend: Backend, view: View, item: Item | None, found: Found) -> dict[str, Any]:
    """Return what the template needs of what was found."""
    views = EventViews(backend.catalog, view)
    events, histogram = found.events, found.histogram

    def zoom(since: datetime, until: datetime) -> str:
        return view.href_within(times_text(since, until))

    return {
        "rows": [views.row(stored) for stored in events.events],
        "total_words": _total_words(view, histogram),
        "chart": None if isinstance(histogram, str) or not histogram.total else chart_of(histogram, zoom),
        "chart_trouble": histogram if isinstance(histogram, str) else "",
        "zoom_href": zoom(*_MARKED),
        "facets": _facets(view, found),
        "next_href": _other_page(view, events.next_cursor),
        "previous_href": _other_page(view, events.previous_cursor),
        "newest_href": view.href() if view.cursor else None,
        "complete_up_to": found.completeness.up_to,
        "lag_words": found.completeness.trouble,
        "shown": views.whole(found.open_event) if found.open_event else None,
        "item": item and item_link(views, item, events.events),
    }


def filter_context(view: View) -> dict[str, Any]:
    """Return what the template needs of a view alone, whether or not its search has a mistake."""
    return {
        "path": view.place.path,
        "typed": view.typed,
        "kept": view.kept(),
        "mistake": view.mistake and mistake_view(view.mistake),
        "examples": EXAMPLES,
        "ranges": quick_ranges(view),
        "terms": term_links(view),
        "clear_href": view.at(view.place).href(),
        "close_href": view.href(cursor=view.cursor),
        "cursor": view.cursor,
        "is_filtered": bool(view.search.terms),
        "export_key": token_hex(8),
        "item_key": view.place.item_key,
        "search_text": view.search.text,
    }


def item_link(views: EventViews, item: Item, events: Sequence[StoredEvent]) -> ItemLink:
    """Return the item of a page, with the newest name that the events on it know."""
    named = (
        entity
        for stored in events
        for entity in (stored.event.entity, *stored.event.related)
        if (entity.type, entity.id) == (item.type, item.id) and entity.name
    )
    return views.item(next(named, Entity.model_construct(type=item.type, id=item.id, name=None)))


def mistake_view(mistake: BadSearch) -> MistakeView:
    """Return a mistake as it is shown."""
    text, at = mistake.text, mistake.position
    *others, last = mistake.expected
    expected = f"{', '.join(others)} or {last}" if others else last
    return MistakeView(at + 1, mistake.problem, expected, text[:at], text[at : at + 1], text[at + 1 :])


async def _open_event(backend: Backend, reader: Reader, view: View) -> StoredEvent | None:
    """Return the event whose drawer is open; a link to one that is not there shows the page without it."""
    event_id = view.event_id
    if event_id is None:
        return None
    try:
        return await backend.read(reader, lambda log: log.event(reader.account_id, event_id, reader.item))
    except NotFound:
        return None


async def _or_why(waiting: Awaitable[T]) -> T | str:
    try:
        return await waiting
    except (QueryError, TransientError) as error:
        return problem_of(error).detail
    except Problem as problem:
        return problem.detail


def _facets(view: View, found: Found) -> list[FacetLinks]:
    names = {
        stored.event.actor.id: stored.event.actor.name
        for stored in reversed(found.events.events)
        if stored.event.actor.name
    }
    return [
        facet_links(view, field, title, facet, names if field == "actor" else {})
        for (field, title), facet in zip(FACETS, found.facets, strict=True)
    ]


def _total_words(view: View, histogram: Histogram | str) -> str:
    if isinstance(histogram, str):
        return "Events"
    plural = "" if histogram.total == 1 else "s"
    return f"{histogram.total:,} {'matching ' if view.search.terms else ''}event{plural}"


def _other_page(view: View, cursor: str | None) -> str | None:
    return None if cursor is None else view.href(cursor=cursor)

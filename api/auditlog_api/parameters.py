"""The query parameters of the routes, and the filter they make. An unknown one is refused by its name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from auditlog_api.access import Reader, SignedIn
from auditlog_api.edge import SLASH
from auditlog_api.problem import bad_parameters, not_found
from auditlog_api.viewer_tokens import item_of_key
from auditlog_schemas.errors import BadFilter
from auditlog_storage.facets import FACET_VALUES_MAX
from auditlog_storage.filters import VALUES_MAX, EventFilter, Item
from auditlog_storage.histogram import BARS_MAX
from auditlog_storage.moments import parse_moment, rfc3339
from auditlog_storage.reader import PAGE_EVENTS_MAX
from auditlog_storage.sealed import TEXT_CHARACTERS_MAX
from auditlog_storage.search import parse_search

REPEATABLE: Final = frozenset({"action", "group"})
"""Parameters that may be given several times: any of the values."""

FORM_BYTES_MAX: Final = 20_000
ITEM_PATTERN: Final = "^[^/]+/"
"""Of TYPE/ID, for the OpenAPI document: a value that breaks it is refused with a better word."""

_TIME: Final = "RFC 3339, or as people write: 24h, 3d, yesterday, 2026-11-01"


class Filters(BaseModel):
    """Which events; what is left out does not restrict."""

    model_config = ConfigDict(extra="forbid")

    q: Annotated[str | None, Field(description="a search, see docs/searching.md")] = None
    action: Annotated[list[str], Field(max_length=VALUES_MAX, description="any of these actions")] = []
    group: Annotated[list[str], Field(max_length=VALUES_MAX, description="any action of these groups")] = []
    entity: Annotated[
        str | None,
        Field(min_length=1, description="TYPE or TYPE/ID of what was acted on, for example license/lic_1"),
    ] = None
    actor: Annotated[str | None, Field(min_length=1, description="id of who did it")] = None
    ip: Annotated[
        str | None, Field(min_length=1, description="address, network (10.0.0.0/8) or text with stars")
    ] = None
    request_id: Annotated[str | None, Field(min_length=1, description="of the request it came from")] = None
    since: Annotated[str | None, Field(description=f"at or after: {_TIME}")] = None
    until: Annotated[str | None, Field(description=f"before: {_TIME}")] = None


class ItemFilters(Filters):
    """Which events, of one item if need be."""

    item: Annotated[
        str | None,
        Field(
            description="TYPE/ID of what was acted on or is related to it",
            json_schema_extra={"pattern": ITEM_PATTERN},
        ),
    ] = None


class PageQuery(Filters):
    """A page of events."""

    limit: Annotated[int, Field(ge=1, le=PAGE_EVENTS_MAX, description="events of a page")] = 50
    cursor: Annotated[str | None, Field(max_length=TEXT_CHARACTERS_MAX, description="of another page")] = None
    sentences: Annotated[bool, Field(description="whether each event has its sentence")] = False


class EventsQuery(PageQuery, ItemFilters):
    """A page of events."""


class EventQuery(BaseModel):
    """One event."""

    model_config = ConfigDict(extra="forbid")

    sentences: Annotated[bool, Field(description="whether the event has its sentence")] = False


class HistogramQuery(ItemFilters):
    """Events over time."""

    bars: Annotated[int, Field(ge=1, le=BARS_MAX, description="at most so many bars")] = 120


class FacetQuery(ItemFilters):
    """The values of a field."""

    limit: Annotated[int, Field(ge=1, le=FACET_VALUES_MAX, description="at most so many values")] = 10


class TailQuery(ItemFilters):
    """A log that is followed."""

    last_event_id: Annotated[
        str | None,
        Field(max_length=TEXT_CHARACTERS_MAX, description="as the header Last-Event-ID, which goes first"),
    ] = None
    sentences: Annotated[bool, Field(description="whether each event has its sentence")] = False


async def no_parameters(request: Request, _reader: SignedIn) -> None:
    """Refuse every query parameter; a dependency of routes that have none."""
    _refuse([(name, "is not known here") for name in request.query_params])


NO_PARAMETERS: Final = [Depends(no_parameters)]


def filter_of(request: Request, reader: Reader, query: Filters, item: Item | None = None) -> EventFilter:
    """Return the filter that the query parameters make.

    Args:
        request: whose parameters they are.
        reader: a viewer of one item may ask for this item alone.
        query: the parameters.
        item: of the path, for the routes of an item.

    Raises:
        Problem: 404, a viewer asks for more than its item; 400, a parameter was given twice.
        BadFilter: a value cannot be used.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    twice = dict.fromkeys(name for name in given if name not in REPEATABLE and given.count(name) > 1)
    _refuse([(name, "may be given once") for name in twice])
    if isinstance(query, ItemFilters) and query.item is not None:
        item = item_of_key(query.item)
    if reader.item is not None and item != reader.item:
        raise not_found()
    entity_type, slash, entity_id = (query.entity or "").partition("/")
    now = datetime.now(UTC)
    return EventFilter(
        actions=tuple(query.action),
        groups=tuple(query.group),
        actor_id=query.actor,
        entity_type=entity_type if query.entity is not None else None,
        entity_id=entity_id if slash else None,
        item=item,
        since=parse_moment("since", query.since, now) if query.since is not None else None,
        until=parse_moment("until", query.until, now) if query.until is not None else None,
        ip=query.ip,
        request_id=query.request_id,
        search=parse_search(query.q, now) if query.q is not None else None,
    )


def page_address(request: Request, query: Filters, filter: EventFilter, cursor: str) -> str:
    """Return the address of another page of this answer, from the root on.

    A relative time, ``since=24h``, is written as the time it was taken for: on all pages it means the same.
    """
    times = {"since": filter.since, "until": filter.until}
    pairs: list[tuple[str, object]] = []
    for name, value in query.model_dump(exclude_defaults=True, exclude={"cursor"}).items():
        moment = times.get(name)
        if moment is not None:
            pairs.append((name, rfc3339(moment)))
        elif isinstance(value, list):
            pairs += [(name, each) for each in value]
        else:
            pairs.append((name, str(value).lower() if isinstance(value, bool) else value))
    pairs.append(("cursor", cursor))
    path = quote(request.scope["path"], safe="/").replace("%00", "%2F")
    return f"{request.scope.get('root_path', '')}{path}?{urlencode(pairs)}"


def path_item(entity_type: str, entity_id: str) -> Item:
    """Return the item of a path.

    Raises:
        Problem: 404, there can be no such item.
    """
    try:
        return Item(entity_type.replace(SLASH, "/"), entity_id.replace(SLASH, "/"))
    except BadFilter:
        raise not_found() from None


async def form_fields(request: Request) -> dict[str, str]:
    """Return the fields of a page's form; of one that comes twice the last.

    Raises:
        Problem: 400, the form is too long.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > FORM_BYTES_MAX:
            raise bad_parameters([{"in": "body", "name": "form", "detail": "is too long"}])
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _refuse(found: Sequence[tuple[str, str]]) -> None:
    if found:
        raise bad_parameters(
            [{"in": "query", "name": name[:80], "detail": detail} for name, detail in found[:20]]
        )

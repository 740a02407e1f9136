"""What a page shows, as its URL says it; and the URLs of what it could show instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode
from uuid import UUID

from auditlog_schemas.errors import BadFilter
from auditlog_storage.moments import rfc3339
from auditlog_storage.search import BadSearch, Search, parse_search
from auditlog_storage.search.globs import Glob
from auditlog_storage.search.search import NOTHING_ASKED, Term

ROWS: Final = 50
ROWS_MAX: Final = 200

Zone = Literal["utc", "local"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an account's pages are.

    Attributes:
        account_id: whose log.
        item_key: ``type/id`` of the item whose page this is; None for the whole log.
    """

    account_id: str
    item_key: str | None = None

    @property
    def path(self) -> str:
        """Return the page's path."""
        if self.item_key is None:
            return f"/accounts/{_segment(self.account_id)}/audit-logs"
        type, _, id = self.item_key.partition("/")
        return item_path(self.account_id, type, id)


@dataclass(frozen=True, slots=True)
class View:
    """One state of a page. Whatever the page can be brought to show has a URL.

    Attributes:
        place: which page.
        typed: the search as it was typed.
        search: the search; nothing when it has a mistake.
        mistake: what is wrong with the search.
        cursor: of the page of events.
        rows: events on a page.
        zone: in which the browser shows times; the server always writes UTC.
        event_id: of the event whose drawer is open.
    """

    place: Place
    typed: str = ""
    search: Search = NOTHING_ASKED
    mistake: BadSearch | None = None
    cursor: str | None = None
    rows: int = ROWS
    zone: Zone = "utc"
    event_id: UUID | None = None

    def href(self, search_text: str | None = None, cursor: str | None = None, event: str | None = None) -> str:
        """Return the URL of another state: rows and zone stay, the rest is what is given here.

        Args:
            search_text: None is this page's own search.
            cursor: None is the first page.
            event: id of the event whose drawer is open; None for none.
        """
        text = self.search.text if search_text is None else search_text
        fields = [("q", text), *self.kept(), ("cursor", cursor), ("event", event)]
        return _url(self.place.path, fields)

    def kept(self) -> list[tuple[str, str]]:
        """Return what every further page keeps, as query parameters."""
        found = [] if self.rows == ROWS else [("rows", str(self.rows))]
        return found + ([("zone", "local")] if self.zone == "local" else [])

    def event_path(self, event_id: UUID | str) -> str:
        """Return the permalink of an event."""
        return _url(event_path(self.place.account_id, event_id), self.kept())

    def elsewhere(self, place: Place, search_text: str = "") -> str:
        """Return the URL of another page of the account."""
        return replace(self, place=place).href(search_text)


def read_view(place: Place, query: Mapping[str, str], now: datetime) -> View:
    """Return the view that a URL asks for. A mistake in the search is part of the view.

    Args:
        place: which page.
        query: the parameters of the URL; those that are not known are ignored.
        now: what relative times count from (aware).

    Raises:
        BadFilter: another parameter is wrong; the message starts with its name.
    """
    typed = query.get("q", "").strip()
    search, mistake = NOTHING_ASKED, None
    try:
        search = parse_search(typed, now)
    except BadSearch as error:
        mistake = error
    return View(
        place,
        typed,
        search,
        mistake,
        query.get("cursor") or None,
        _rows(query.get("rows")),
        "local" if query.get("zone") == "local" else "utc",
        _event_id(query.get("event")),
    )


def with_range(search: Search, since: datetime | None, until: datetime | None) -> str:
    """Return the text of the search with its times replaced by those from `since` up to `until` (UTC)."""
    bounds = [f"created:>={rfc3339(since)}"] if since else []
    bounds += [f"created:<{rfc3339(until)}"] if until else []
    return with_times(search, bounds)


def with_times(search: Search, bounds: Iterable[str]) -> str:
    """Return the text of the search with its times replaced by these terms."""
    return joined([*(term.text for term in search.terms if term.field != "created"), *bounds])


def without(search: Search, term: Term) -> str:
    """Return the text of the search without a term."""
    return joined(each.text for each in search.terms if each is not term)


def chosen(search: Search, field: str) -> list[str]:
    """Return the values of a field that the search asks for, as the language writes them."""
    term = _positive(search, field)
    return [value.text for value in term.values] if term else []


def toggled(search: Search, field: str, value: str) -> str:
    """Return the text of the search with a value, as the language writes it, taken in or out.

    Values of one field are alternatives: a second one is added to the first one's term.
    """
    present = chosen(search, field)
    values = [each for each in present if each != value] if value in present else [*present, value]
    term = _positive(search, field)
    texts = [each.text for each in search.terms if each is not term]
    return joined([*texts, f"{field}:{','.join(values)}"] if values else texts)


def without_field(search: Search, field: str) -> str:
    """Return the text of the search without what it asks of a field; what it excludes stays."""
    term = _positive(search, field)
    return joined(each.text for each in search.terms if each is not term)


def written(text: str) -> str:
    """Return any text as a value of the search language that stands for just this text."""
    return Glob.exactly(text).text


def joined(terms: Iterable[str]) -> str:
    """Return terms as one search."""
    return " ".join(terms)


def item_path(account_id: str, type: str, id: str) -> str:
    """Return the path of an item's page."""
    return f"/accounts/{_segment(account_id)}/items/{_segment(type)}/{_segment(id)}"


def event_path(account_id: str, event_id: UUID | str) -> str:
    """Return the path of an event's page."""
    return f"/accounts/{_segment(account_id)}/audit-logs/{event_id}"


def read_utc(name: str, text: str | None) -> datetime | None:
    """Return the time of a form's ``datetime-local`` field, taken as UTC; None when it is empty.

    Raises:
        BadFilter: it is no time.
    """
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise BadFilter(f"{name}: {text!r:.40} is not a time; write for example 2026-11-01T09:30") from None


def _positive(search: Search, field: str) -> Term | None:
    wanted = (each for each in search.terms if each.field == field and not each.negated and not each.key)
    return next(wanted, None)


def _rows(text: str | None) -> int:
    if not text:
        return ROWS
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= ROWS_MAX):
        raise BadFilter(f"rows: must be 1 to {ROWS_MAX}, not {text!r:.20}")
    return int(text)


def _event_id(text: str | None) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise BadFilter(f"event: {text!r:.40} is not the id of an event") from None


def _segment(text: str) -> str:
    return quote(text, safe="")


def _url(path: str, fields: Iterable[tuple[str, Any]]) -> str:
    query = urlencode([(name, value) for name, value in fields if value])
    return f"{path}?{query}" if query else path

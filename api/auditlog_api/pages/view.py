"""What a page shows, as its URL says it; and the URLs of what it could show instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import MINYEAR, UTC, datetime, time, timedelta
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode
from uuid import UUID

from auditlog_schemas.errors import BadFilter
from auditlog_storage.moments import rfc3339
from auditlog_storage.search import (
    NOTHING_ASKED,
    BadSearch,
    Search,
    has_term,
    parse_search,
    with_term,
    without_field,
    without_term,
)

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
        now: what relative times count from (aware).
        typed: the search as it was typed.
        search: the search; nothing when it has a mistake.
        mistake: what is wrong with the search.
        cursor: of the page of events.
        rows: events on a page.
        zone: in which the browser shows times; the server always writes UTC.
        event_id: of the event whose drawer is open.
    """

    place: Place
    now: datetime
    typed: str = ""
    search: Search = NOTHING_ASKED
    mistake: BadSearch | None = None
    cursor: str | None = None
    rows: int = ROWS
    zone: Zone = "utc"
    event_id: UUID | None = None

    def href(self, search: Search | None = None, cursor: str | None = None, event: str | None = None) -> str:
        """Return the URL of another state: rows and zone stay, the rest is what is given here.

        Args:
            search: None is this page's own search.
            cursor: None is the first page.
            event: id of the event whose drawer is open; None for none.
        """
        text = (self.search if search is None else search).text
        fields = [("q", text), *self.kept(), ("cursor", cursor), ("event", event)]
        return _url(self.place.path, fields)

    def href_with(self, name: str, text: str) -> str | None:
        """Return the URL with a value of a field asked for, or no longer when it is asked for now.

        None when the search language has no such value: stored texts need not be what they should be.
        """
        try:
            change = without_term if has_term(self.search, name, text, self.now) else with_term
            return self.href(change(self.search, name, text, self.now))
        except BadFilter:
            return None

    def href_within(self, times: str) -> str:
        """Return the URL within the times that a value of ``created`` says; no text is all time."""
        if not times:
            return self.href(without_field(self.search, "created"))
        return self.href(with_term(self.search, "created", times, self.now))

    def is_asked(self, name: str, text: str) -> bool:
        """Tell whether the search asks for a value of a field."""
        try:
            return has_term(self.search, name, text, self.now)
        except BadFilter:
            return False

    def kept(self) -> list[tuple[str, str]]:
        """Return what every further page keeps, as query parameters."""
        found = [] if self.rows == ROWS else [("rows", str(self.rows))]
        return found + ([("zone", "local")] if self.zone == "local" else [])

    def event_path(self, event_id: UUID | str) -> str:
        """Return the permalink of an event."""
        return _url(event_path(self.place.account_id, event_id), self.kept())

    def at(self, place: Place) -> View:
        """Return the view of another page of the account, without a search."""
        return View(place, self.now, rows=self.rows, zone=self.zone)


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
        now,
        typed,
        search,
        mistake,
        query.get("cursor") or None,
        _rows(query.get("rows")),
        "local" if query.get("zone") == "local" else "utc",
        _event_id(query.get("event")),
    )


def times_text(since: datetime | None, until: datetime | None) -> str:
    """Return the time from `since` up to, and not including, `until` as a value of ``created``.

    Both are whole seconds in UTC, and one may be None. Whole days are written as days.
    """
    if since is None or until is None:
        return f">={rfc3339(since)}" if since else f"<{rfc3339(until)}" if until else ""
    midnights = [moment.astimezone(UTC).time() == time.min for moment in (since, until)]
    if all(midnights):
        first, last = since.date().isoformat(), (until - timedelta(days=1)).date().isoformat()
        return first if first == last else f"{first}..{last}"
    # The second at the end of a range is still in it.
    return f"{rfc3339(since)}..{rfc3339(until - timedelta(seconds=1))}"


def item_path(account_id: str, type: str, id: str) -> str:
    """Return the path of an item's page."""
    return f"/accounts/{_segment(account_id)}/items/{_segment(type)}/{_segment(id)}"


def event_path(account_id: str, event_id: UUID | str) -> str:
    """Return the path of an event's page."""
    return f"/accounts/{_segment(account_id)}/audit-logs/{event_id}"


def exports_path(account_id: str, job_id: str | None = None) -> str:
    """Return the path of the page of an account's exports, or of one of them."""
    path = f"/accounts/{_segment(account_id)}/exports"
    return path if job_id is None else f"{path}/{_segment(job_id)}"


def read_utc(name: str, text: str | None) -> datetime | None:
    """Return the time of a form's ``datetime-local`` field, taken as UTC; None when it is empty.

    Raises:
        BadFilter: it is no time.
    """
    if not text:
        return None
    try:
        moment: datetime | None = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        moment = None
    # In the first year the day before may not exist.
    if moment is None or moment.year == MINYEAR:
        raise BadFilter(f"{name}: {text!r:.40} is not a time; write for example 2026-11-01T09:30")
    return moment


def _rows(text: str | None) -> int:
    if not text:
        return ROWS
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= ROWS_MAX):
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

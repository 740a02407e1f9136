"""The questions of the query bench: each asked of the storage reader, and over HTTP where the API has it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
from query_log import LARGEST, SINCE, YEAR

from auditlog_storage.connection import Connection, Parameters, Settings
from auditlog_storage.filters import EventFilter, Item
from auditlog_storage.reader import LogReader
from auditlog_storage.search import parse_search

PAGE_EVENTS: Final = 50
DEEP_PAGES: Final = 20
_NOTHING: Final[dict[str, Any]] = {}


class CountingConnection(Connection):
    """Adds up what the server says it has read for the queries that went through."""

    read_rows = 0
    read_bytes = 0

    def query_rows(
        self, sql: str, parameters: Parameters = _NOTHING, settings: Settings = _NOTHING
    ) -> list[tuple[Any, ...]]:
        with self._translated() as client:
            result = client.query(sql, parameters=dict(parameters), settings=dict(settings))
            self.read_rows += int(result.summary.get("read_rows", 0))
            self.read_bytes += int(result.summary.get("read_bytes", 0))
            return [tuple(row) for row in result.result_rows]


@dataclass(frozen=True, slots=True)
class Question:
    """Something that a person asks of the log.

    Attributes:
        name: in the table of results.
        ask: asks the reader once; returns how many events or values came back.
        path: of the API, behind the account; None where HTTP adds nothing to what another one shows.
        milliseconds_max: the bar for the 95th percentile.
    """

    name: str
    ask: Callable[[LogReader], int]
    path: str | None
    milliseconds_max: float


@dataclass(frozen=True, slots=True)
class Samples:
    """What the log holds that questions need by name: found in it, since it is made by chance.

    Attributes:
        busy, rare: a license with the most events, and one with few, of the largest account.
        event_id: of an event in the middle of the year.
        deep_cursor: of the page after `DEEP_PAGES` pages of a thousand events, or of the last page.
        request_id, ticket: of that event; the ticket is in its metadata and in few others'.
    """

    busy: str
    rare: str
    event_id: Any
    deep_cursor: str
    request_id: str
    ticket: str


def find_samples(connection: Connection) -> Samples:
    """Look into the log."""
    of_account = "account_bucket = kafkaMurmurHash({account:String}) % 8 AND account_id = {account:String}"
    licenses = connection.query_rows(
        # The account travels as a parameter.
        "SELECT entity_id, count() AS events FROM audit_events "
        f"WHERE {of_account} AND entity_type = 'license' GROUP BY entity_id ORDER BY events DESC, entity_id",
        {"account": LARGEST},
    )
    rare = next(name for name, events in licenses if events <= 12)
    reader = LogReader(connection)
    deep = reader.timeline(LARGEST, limit=1_000)
    for _ in range(DEEP_PAGES - 1):
        # The cursor is bound to its question, not to the length of its page.
        further = reader.timeline(LARGEST, limit=1_000, cursor=deep.next_cursor)
        deep = further if further.next_cursor else deep
    assert deep.next_cursor is not None
    middle = reader.timeline(LARGEST, EventFilter(until=SINCE + YEAR / 2), limit=1).events[0].event
    request_id = middle.context.request_id
    assert request_id is not None
    ticket = middle.metadata["ticket"]
    return Samples(licenses[0][0], rare, middle.event_id, deep.next_cursor, request_id, ticket)


def questions(found: Samples) -> list[Question]:
    """Return every question; those with a bar of 60, 150 and 400 ms are the issue's."""
    now = SINCE + YEAR
    texts = {
        "actor and action": "action:license.* actor:usr_7",
        "rare word": f'"{found.ticket}"',
        "common word": '"customer 12"',
        "request id": f"request:{found.request_id}",
        "network": "ip:10.0.3.0/24",
        "without": "-action:*_updated created:>=2026-03-01",
    }
    filters = {name: EventFilter(search=parse_search(text, now)) for name, text in texts.items()}

    def page(filter: EventFilter, cursor: str | None = None) -> Callable[[LogReader], int]:
        return lambda log: len(log.timeline(LARGEST, filter, PAGE_EVENTS, cursor).events)

    def searched(name: str, milliseconds_max: float) -> Question:
        path = "events?" + urlencode({"limit": PAGE_EVENTS, "q": texts[name]})
        return Question(f"page: {texts[name]}", page(filters[name]), path, milliseconds_max)

    def item(name: str, id: str) -> Question:
        path = f"items/license/{quote(id)}/events?limit={PAGE_EVENTS}"
        return Question(
            name, lambda log: len(log.item(LARGEST, "license", id, limit=PAGE_EVENTS).events), path, 60
        )

    def facet(field: str, filter: EventFilter = EventFilter()) -> Question:  # noqa: B008 - frozen
        return Question(
            f"facet {field}", lambda log: log.facet(LARGEST, filter, field, 10).total, f"facets/{field}", 150
        )

    item_of_license = EventFilter(item=Item("license", found.busy))
    return [
        Question("first page", page(EventFilter()), f"events?limit={PAGE_EVENTS}", 60),
        Question(
            "a page deep inside",
            page(EventFilter(), found.deep_cursor),
            f"events?limit={PAGE_EVENTS}&cursor={found.deep_cursor}",
            60,
        ),
        searched("actor and action", 60),
        searched("without", 60),
        searched("request id", 60),
        searched("network", 60),
        item("item, busy", found.busy),
        item("item, rare", found.rare),
        Question("one event", lambda log: _one(log, found.event_id), f"events/{found.event_id}", 60),
        Question("histogram, a year", lambda log: log.histogram(LARGEST).total, "histogram", 150),
        Question(
            "histogram, a month",
            lambda log: log.histogram(LARGEST, EventFilter(since=now - timedelta(days=30))).total,
            None,
            150,
        ),
        Question(
            "histogram, busy item", lambda log: log.histogram(LARGEST, item_of_license).total, None, 150
        ),
        facet("action"),
        facet("group"),
        facet("entity_type"),
        facet("actor"),
        facet("ip"),
        facet("entity"),
        searched("rare word", 400),
        searched("common word", 400),
    ]


def _one(log: LogReader, event_id: Any) -> int:
    log.event(LARGEST, event_id)
    return 1


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds of each call, sorted, and what one of them read."""

    milliseconds: list[float]
    answered: int
    read_rows: int = 0
    read_bytes: int = 0

    def percentile(self, share: float) -> float:
        """Return the time within which this share of the calls was answered."""
        return self.milliseconds[min(int(share * len(self.milliseconds)), len(self.milliseconds) - 1)]


def time_storage(connection: CountingConnection, question: Question, calls: int) -> Timed:
    """Ask the reader so often, after one call that does not count."""
    reader = LogReader(connection)
    connection.read_rows = connection.read_bytes = 0
    answered = question.ask(reader)
    rows, size = connection.read_rows, connection.read_bytes
    return Timed(_times(lambda: question.ask(reader), calls), answered, rows, size)


def time_http(client: httpx.Client, question: Question, calls: int) -> Timed:
    """Ask the API so often, after one call that does not count."""
    address = f"/v1/accounts/{LARGEST}/{question.path}"

    def ask() -> int:
        answer = client.get(address)
        if answer.status_code != 200:
            raise RuntimeError(f"{address}: {answer.status_code} {answer.text[:300]}")
        return len(answer.content)

    return Timed(_times(ask, calls), ask())


def _times(ask: Callable[[], object], calls: int) -> list[float]:
    ask()
    found = []
    for _ in range(calls):
        begun = time.perf_counter()
        ask()
        found.append((time.perf_counter() - begun) * 1_000)
    return sorted(found)

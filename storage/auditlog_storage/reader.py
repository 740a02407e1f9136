"""Reading an account's log: pages, single events, histograms and facets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from auditlog_schemas.errors import BadFilter, NotFound
from auditlog_schemas.record import micros_of
from auditlog_storage.account_query import AccountQuery
from auditlog_storage.connection import Connection, Settings
from auditlog_storage.cursor import Cursor, Position, decode_cursor, encode_cursor
from auditlog_storage.facets import Facet, read_facet
from auditlog_storage.filters import EventFilter, Item, moment
from auditlog_storage.histogram import Histogram, read_histogram
from auditlog_storage.recorded import Recorded
from auditlog_storage.sealed import Seal
from auditlog_storage.snapshot import Snapshot
from auditlog_storage.stored_event import SELECTED, StoredEvent, stored_event

PAGE_EVENTS_MAX: Final = 1_000

_ALL: Final = EventFilter()

# ClickHouse does not order UUIDs as text, so only the server compares them. The first condition says
# nothing new, but it is the one that the primary key understands.
_OLDER: Final = (
    f"occurred_at <= {moment('position_time')}",
    f"(occurred_at, event_id) < ({moment('position_time')}, {{position_id:UUID}})",
)
_NEWER: Final = (
    f"occurred_at >= {moment('position_time')}",
    f"(occurred_at, event_id) > ({moment('position_time')}, {{position_id:UUID}})",
)
# Buffered reading goes far ahead in every part at once, for rows that the page does not need. A page is read
# from a part of each entity type: two threads share the parts, and more would wait for one another.
_FEW_ROWS: Final[Settings] = {"read_in_order_use_buffering": 0, "max_block_size": 1_024, "max_threads": 2}

_NEWEST_FIRST: Final = "ORDER BY occurred_at DESC, event_id DESC LIMIT {rows:UInt32}"
_OLDEST_FIRST: Final = "ORDER BY occurred_at ASC, event_id ASC LIMIT {rows:UInt32}"


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first, and the cursors of the pages next to it.

    Attributes:
        events: the events.
        next_cursor: of the older ones; None when there are none.
        previous_cursor: of the newer ones; None when there are none, as on the first page.
    """

    events: tuple[StoredEvent, ...]
    next_cursor: str | None
    previous_cursor: str | None = None


class LogReader:
    """Reads one account at a time; safe to share between threads.

    The order is newest first: by `occurred_at`, and among equal times by `event_id` as ClickHouse orders
    UUIDs. Pages follow that order without losing or repeating an event, also while events arrive and when
    a row is stored twice. A page shows what the ledger had recorded when its first page was asked for: a
    batch that is being stored shows in full or not at all, and what is stored later shows on no later page.
    Single events, histograms and facets show whatever is stored.

    Every method raises BadFilter for an empty account or a wrong argument, QueryLimitReached for a question
    that needs more time, rows, bytes or memory than the settings allow, and what `Connection` and `Keys.read`
    raise.
    """

    def __init__(self, connection: Connection, snapshot_seconds: float = 0.0) -> None:
        """Make a reader.

        Args:
            connection: to which ClickHouse.
            snapshot_seconds: how old a first page's view of the ledger may be; with 0 it is read each time.
        """
        self._query = AccountQuery(connection)
        self._recorded = Recorded(self._query, snapshot_seconds)
        self._seal = Seal.of(connection)

    def timeline(
        self,
        account_id: str,
        filter: EventFilter = _ALL,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of the account's events.

        Args:
            account_id: whose log.
            filter: which events. Its relative times count from the `now` of the first page on all pages.
            limit: events of a page, 1 to 1,000. Only the last page has fewer.
            cursor: of a page that was asked with the same account and filter.
        """
        if not 1 <= limit <= PAGE_EVENTS_MAX:
            raise BadFilter(f"limit: must be 1 to {PAGE_EVENTS_MAX:,}, not {limit}")
        at = decode_cursor(self._seal, cursor, account_id, filter) if cursor is not None else None
        now = filter.search.now if filter.search is not None else None
        if at is not None and at.now is not None and filter.search is not None:
            now = at.now
            filter = replace(filter, search=filter.search.at(now))
        snapshot = at.snapshot if at is not None else self._recorded.snapshot(account_id)
        newer = at is not None and at.newer
        beside = _Beside(self._query, account_id, filter, snapshot, newer)
        found = beside.events(at.position if at else None, limit + 1)
        shown, more = found[:limit], len(found) > limit
        if newer:
            shown.reverse()

        def token(event: StoredEvent, newer: bool) -> str:
            place = Cursor(_position(event), newer, now, snapshot)
            return encode_cursor(self._seal, place, account_id, filter)

        has_older, has_newer = (bool(shown), more) if newer else (more, bool(shown) and at is not None)
        return Page(
            tuple(shown),
            token(shown[-1], False) if has_older else None,
            token(shown[0], True) if has_newer else None,
        )

    def item(
        self,
        account_id: str,
        entity_type: str,
        entity_id: str,
        filter: EventFilter = _ALL,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return a page of the events whose entity or related entity is this item; see `timeline`."""
        return self.timeline(account_id, replace(filter, item=Item(entity_type, entity_id)), limit, cursor)

    def event(self, account_id: str, event_id: UUID, item: Item | None = None) -> StoredEvent:
        """Return one event of the account.

        Args:
            account_id: whose log.
            event_id: which event.
            item: the event must be one of this item's.

        Raises:
            NotFound: the account, or the item, has no such event, whoever else may have it.
        """
        found = self._query.rows(
            account_id,
            EventFilter(item=item),
            SELECTED,
            _NEWEST_FIRST,
            ["event_id = {event_id:UUID}"],
            {"event_id": event_id, "rows": 1},
        )
        if not found:
            where = f"account {account_id}" if item is None else f"{item.key} of account {account_id}"
            raise NotFound(f"{where} has no event {event_id}")
        return stored_event(found[0])

    def counts_by_action(self, account_id: str, filter: EventFilter = _ALL) -> dict[str, int]:
        """Return how many events there are of each action, the most frequent first."""
        columns, order = "action, count() AS events", "GROUP BY action ORDER BY events DESC, action"
        return dict(self._query.rows(account_id, filter, columns, order))

    def histogram(self, account_id: str, filter: EventFilter = _ALL, bars_max: int = 120) -> Histogram:
        """Return how many events there were when, in at most `bars_max` (1 to 1,000) bars.

        The range is that of the filter; where the filter is open, it reaches to the account's oldest or
        newest event.
        """
        return read_histogram(self._query, account_id, filter, bars_max)

    def facet(self, account_id: str, filter: EventFilter, field: str, limit: int = 10) -> Facet:
        """Return the `limit` (1 to 100) most frequent values of a field (one of `FACET_FIELDS`)."""
        return read_facet(self._query, account_id, filter, field, limit)


@dataclass(frozen=True, slots=True)
class _Beside:
    """The events on the older or the newer side of a position."""

    query: AccountQuery
    account_id: str
    filter: EventFilter
    snapshot: Snapshot
    newer: bool

    def events(self, position: Position | None, wanted: int) -> list[StoredEvent]:
        """Return up to `wanted` events, the nearest first; without a position, from the log's end."""
        events: list[StoredEvent] = []
        more = True
        while more and len(events) < wanted:
            rows = self._rows(position, wanted)
            more = len(rows) == wanted
            # Rows of one time and id are one event that was stored more than once.
            events += [next(copies) for _, copies in groupby(map(stored_event, rows), key=_position)]
            position = _position(events[-1]) if events else None
        return events[:wanted]

    def _rows(self, position: Position | None, rows: int) -> list[tuple[Any, ...]]:
        recorded, values = self.snapshot.condition()
        conditions = [recorded]
        if position is not None:
            conditions += _NEWER if self.newer else _OLDER
            values |= {"position_time": position.occurred_at_micros, "position_id": position.event_id}
        order = _OLDEST_FIRST if self.newer else _NEWEST_FIRST
        values["rows"] = rows
        return self.query.rows(self.account_id, self.filter, SELECTED, order, conditions, values, _FEW_ROWS)


def _position(stored: StoredEvent) -> Position:
    return Position(micros_of(stored.event.occurred_at), stored.event.event_id)

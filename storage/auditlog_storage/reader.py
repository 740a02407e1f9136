"""Reading an account's log: pages, single events, counts and histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Literal
from uuid import UUID

from auditlog_schemas.errors import BadFilter, NotFound
from auditlog_schemas.record import micros_of
from auditlog_storage.connection import Connection
from auditlog_storage.cursor import Position, decode_cursor, encode_cursor
from auditlog_storage.filters import EventFilter, Item, check_account, moment
from auditlog_storage.stored_event import SELECTED, StoredEvent, stored_event
from auditlog_storage.tables import bucket_of

PAGE_EVENTS_MAX: Final = 1_000

_ALL: Final = EventFilter()

# Its bucket finds an account's partitions, its id the granules in them.
_OF_ACCOUNT: Final = (
    f"account_bucket = {bucket_of('{account_id:String}')}",
    "account_id = {account_id:String}",
)

# ClickHouse does not order UUIDs as text, so only the server compares them. The first condition says
# nothing new, but it is the one that the primary key understands.
_BEHIND: Final = (
    f"occurred_at <= {moment('position_time')}",
    f"(occurred_at, event_id) < ({moment('position_time')}, {{position_id:UUID}})",
)

_NEWEST_FIRST: Final = "ORDER BY occurred_at DESC, event_id DESC LIMIT {rows:UInt32}"


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first, and the cursor of the next page; None when this is the last one."""

    events: tuple[StoredEvent, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Bar:
    """How many events happened in the day or hour that begins at `start` (aware UTC)."""

    start: datetime
    events: int


class LogReader:
    """Reads one account at a time; safe to share between threads.

    The order is newest first: by `occurred_at`, and among equal times by `event_id` as ClickHouse orders
    UUIDs. Pages follow that order without losing or repeating an event, also while events arrive and when
    a row is stored twice.

    Every method raises BadFilter for an empty account or a wrong argument, and what `Connection` raises:
    StorageUnavailable also when a query takes longer than `read_seconds_max`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._settings: dict[str, int | str] = {
            "optimize_read_in_order": 1,
            "max_execution_time": connection.settings.read_seconds_max,
        }

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
            filter: which events.
            limit: events of a page, 1 to 1,000. Only the last page has fewer.
            cursor: `next_cursor` of the page before, asked with the same account and filter.
        """
        check_account(account_id)
        if not 1 <= limit <= PAGE_EVENTS_MAX:
            raise BadFilter(f"limit: must be 1 to {PAGE_EVENTS_MAX:,}, not {limit}")
        position = decode_cursor(cursor, account_id, filter) if cursor is not None else None
        events: list[StoredEvent] = []
        more = True
        while more and len(events) <= limit:
            rows = self._behind(account_id, filter, position, limit + 1)
            more = len(rows) > limit
            # Rows of one time and id are one event that was stored more than once.
            events += [next(copies) for _, copies in groupby(map(stored_event, rows), key=_position)]
            position = _position(events[-1]) if events else None
        if len(events) <= limit:
            return Page(tuple(events), None)
        last = _position(events[limit - 1])
        return Page(tuple(events[:limit]), encode_cursor(last, account_id, filter))

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

    def event(self, account_id: str, event_id: UUID) -> StoredEvent:
        """Return one event of the account.

        Raises:
            NotFound: the account has no such event, whoever else may have it.
        """
        check_account(account_id)
        rows = self._select(
            SELECTED,
            [*_OF_ACCOUNT, "event_id = {event_id:UUID}"],
            _NEWEST_FIRST,
            {"account_id": account_id, "event_id": event_id, "rows": 1},
        )
        if not rows:
            raise NotFound(f"account {account_id} has no event {event_id}")
        return stored_event(rows[0])

    def counts_by_action(self, account_id: str, filter: EventFilter = _ALL) -> dict[str, int]:
        """Return how many events there are of each action, the most frequent first."""
        columns, order = "action, count() AS events", "GROUP BY action ORDER BY events DESC, action"
        return dict(self._of_account(account_id, filter, columns, order))

    def histogram(
        self, account_id: str, filter: EventFilter = _ALL, unit: Literal["day", "hour"] = "day"
    ) -> list[Bar]:
        """Return how many events each UTC day or hour has, oldest first, without the empty ones."""
        if unit not in _STARTS:
            raise BadFilter(f"unit: must be day or hour, not {unit!r:.40}")
        columns = f"toDateTime({_STARTS[unit]}, 'UTC') AS start, count()"
        rows = self._of_account(account_id, filter, columns, "GROUP BY start ORDER BY start")
        return [Bar(start, events) for start, events in rows]

    def _behind(
        self, account_id: str, filter: EventFilter, position: Position | None, rows: int
    ) -> list[tuple[Any, ...]]:
        if position is None:
            return self._of_account(account_id, filter, SELECTED, _NEWEST_FIRST, (), {"rows": rows})
        values = {
            "rows": rows,
            "position_time": position.occurred_at_micros,
            "position_id": position.event_id,
        }
        return self._of_account(account_id, filter, SELECTED, _NEWEST_FIRST, _BEHIND, values)

    def _of_account(
        self,
        account_id: str,
        filter: EventFilter,
        columns: str,
        order: str,
        conditions: Sequence[str] = (),
        values: dict[str, object] | None = None,
    ) -> list[tuple[Any, ...]]:
        check_account(account_id)
        wanted, parameters = filter.conditions()
        parameters |= {"account_id": account_id} | (values or {})
        return self._select(columns, [*_OF_ACCOUNT, *wanted, *conditions], order, parameters)

    def _select(
        self, columns: str, conditions: Sequence[str], order: str, values: dict[str, object]
    ) -> list[tuple[Any, ...]]:
        where = "\n  AND ".join(conditions)
        sql = "\n".join(("SELECT", columns, "FROM audit_events", "WHERE", where, order))
        return self._connection.query_rows(sql, values, self._settings)


_STARTS: Final = {"day": "toStartOfDay(occurred_at)", "hour": "toStartOfHour(occurred_at)"}


def _position(stored: StoredEvent) -> Position:
    return Position(micros_of(stored.event.occurred_at), stored.event.event_id)

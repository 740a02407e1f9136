"""Following an account's log: what has been recorded since a position, in the order of Kafka's offsets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from auditlog_schemas.errors import BadFilter
from auditlog_storage.account_query import AccountQuery
from auditlog_storage.connection import Connection
from auditlog_storage.filters import EventFilter, check_account
from auditlog_storage.recorded import PARTITIONS_IN_CURSOR_MAX, first_offsets
from auditlog_storage.sealed import Seal
from auditlog_storage.snapshot import Snapshot
from auditlog_storage.stored_event import SELECTED, StoredEvent, stored_event

TAIL_EVENTS_MAX: Final = 1_000
ENDS_KEPT_SECONDS: Final = 0.5
"""All that follow a log in one process look at the ledger once in so many seconds."""

_KIND: Final = "position 2"

_Partition = tuple[UUID, int]


@dataclass(frozen=True, slots=True)
class TailPosition:
    """Up to where a reader has followed.

    Attributes:
        seen: an offset in each partition that the ledger knew.
        own: of which partitions the text names the offset: those that have rows of the account, at least.
            None is all of them.
    """

    seen: Snapshot
    own: frozenset[_Partition] | None = None


@dataclass(frozen=True, slots=True)
class Tail:
    """What was recorded after a position.

    Attributes:
        events: each with the text of the position behind it.
        position: behind all that was looked at, whether or not the filter let it through.
        text: of that position: `LogTail.opened` understands it, in every process of the installation.
        more: whether there is more already.
    """

    events: tuple[tuple[StoredEvent, str], ...]
    position: TailPosition
    text: str
    more: bool = False


class LogTail:
    """Follows accounts; safe to share between threads.

    A row counts when the ledger has recorded its offset: below the end of a partition nothing is added any
    more, so that a reader who goes on from a position loses and repeats nothing, however batches of several
    partitions become visible. Within a partition, and an account is in one, the order is Kafka's.

    Raises what `AccountQuery` and `Keys.read` raise.
    """

    def __init__(self, connection: Connection) -> None:
        self._query = AccountQuery(connection)
        self._ends = _Kept(self._query)
        self._seal = Seal.of(connection)

    def opened(self, account_id: str, text: str) -> TailPosition:
        """Return the position of a text.

        Raises:
            BadFilter: it is none, or one of another account.
        """
        packed = self._seal.open(text, _KIND, account_id)
        if packed is None:
            raise BadFilter("last_event_id: is no position in this log; leave it out to begin now")
        seen = Snapshot.from_bytes(packed)
        ends = self._ends.read()
        if len(ends) <= PARTITIONS_IN_CURSOR_MAX:
            return TailPosition(seen)
        # The account had no rows in a partition that the text does not name: all that are there now are new.
        own = first_offsets(self._query, account_id)
        unnamed = {at: min(end, own.get(at, end)) for at, end in ends.items()}
        return TailPosition(Snapshot({**unnamed, **seen.ends}), frozenset({*own, *seen.ends}))

    def after(self, account_id: str, filter: EventFilter, position: TailPosition | None, limit: int) -> Tail:
        """Return what has been recorded since.

        Args:
            account_id: whose log.
            filter: which events.
            position: where to go on, of this account; None begins now, with nothing.
            limit: events that are looked at, 1 to 1,000; the filter may let fewer through.
        """
        check_account(account_id)
        if not 1 <= limit <= TAIL_EVENTS_MAX:
            raise BadFilter(f"limit: must be 1 to {TAIL_EVENTS_MAX:,}, not {limit}")
        ends = self._ends.read()
        if position is None:
            position = self._now(account_id, ends)
        seen = position.seen.ends
        moved = {at: end for at, end in ends.items() if end > seen.get(at, 0)}
        if not moved:
            return Tail((), position, self._text(account_id, position))
        places = self._places(account_id, position.seen, moved, limit)
        own = position.own and position.own.union(place[:2] for place in places)
        reached = _Reached(position.seen, moved, own)
        more = len(places) == limit
        behind = reached.behind(places[-1]) if more else reached.all()
        events = tuple(
            (stored, self._text(account_id, reached.behind(_place(stored))))
            for stored in self._events(account_id, filter, places)
        )
        return Tail(events, behind, self._text(account_id, behind), more)

    def _now(self, account_id: str, ends: dict[_Partition, int]) -> TailPosition:
        own = None
        if len(ends) > PARTITIONS_IN_CURSOR_MAX:
            own = frozenset(first_offsets(self._query, account_id))
        return TailPosition(Snapshot(ends), own)

    def _text(self, account_id: str, position: TailPosition) -> str:
        named = position.seen if position.own is None else position.seen.only(position.own)
        return self._seal.seal(named.to_bytes(), _KIND, account_id)

    def _places(
        self, account_id: str, seen: Snapshot, moved: dict[_Partition, int], limit: int
    ) -> list[tuple[UUID, int, int, UUID]]:
        """Return topic, partition, offset and event id of the account's next rows, in this order."""
        # By the projection in the order of offsets: only what is new is read, of all accounts.
        within, values = _between(seen, moved)
        sql = f"""
            SELECT DISTINCT topic_id, kafka_partition, kafka_offset, event_id FROM audit_events
            WHERE account_id = {{account_id:String}} AND ({within})
            ORDER BY topic_id, kafka_partition, kafka_offset
            LIMIT {{rows:UInt32}}
        """  # noqa: S608 - names of ours, values are parameters
        values |= {"account_id": account_id, "rows": limit}
        return [(row[0], row[1], row[2], row[3]) for row in self._query.read(sql, values)]

    def _events(
        self, account_id: str, filter: EventFilter, places: Sequence[tuple[UUID, int, int, UUID]]
    ) -> list[StoredEvent]:
        """Return the events at these places that the filter lets through, in the order of the places."""
        if not places:
            return []
        rows = self._query.rows(
            account_id,
            filter,
            SELECTED,
            "",
            ["event_id IN {tail_ids:Array(UUID)}"],
            {"tail_ids": sorted({place[3] for place in places})},
        )
        # An event may be stored at another offset too, and a row at an offset more than once.
        events = {_place(stored): stored for stored in map(stored_event, rows)}
        return [events[place] for place in (place[:3] for place in places) if place in events]


class _Reached:
    """Positions on the way from what was seen to where partitions have moved."""

    def __init__(
        self, seen: Snapshot, moved: dict[_Partition, int], own: frozenset[_Partition] | None
    ) -> None:
        self._own = own
        self._seen = seen.ends
        self._moved = moved
        # The order of the server's rows.
        self._order = sorted(moved, key=_engine_order)

    def behind(self, place: tuple[UUID, int, int] | tuple[UUID, int, int, UUID]) -> TailPosition:
        """Return the position behind a row."""
        at = place[0], place[1]
        before = self._order[: self._order.index(at)]
        passed = {each: self._moved[each] for each in before}
        return TailPosition(Snapshot({**self._seen, **passed, at: place[2] + 1}), self._own)

    def all(self) -> TailPosition:
        """Return the position behind everything."""
        return TailPosition(Snapshot({**self._seen, **self._moved}), self._own)


class _Kept:
    """The ledger's ends, looked up once in `ENDS_KEPT_SECONDS` for all threads."""

    def __init__(self, query: AccountQuery, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._query = query
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._known: dict[_Partition, int] = {}

    def read(self) -> dict[_Partition, int]:
        with self._lock:
            if self._monotonic() - self._at >= ENDS_KEPT_SECONDS:
                at = self._monotonic()
                known = {
                    (end.topic_id, end.kafka_partition): end.next_offset for end in self._query.ledger_ends()
                }
                self._at, self._known = at, known
            return self._known


_NEW: Final = """(
    topic_id = {{tail_topic_{number}:UUID}} AND kafka_partition = {{tail_partition_{number}:Int32}}
    AND kafka_offset >= {{tail_from_{number}:Int64}} AND kafka_offset < {{tail_end_{number}:Int64}}
)"""


def _between(seen: Snapshot, moved: dict[_Partition, int]) -> tuple[str, dict[str, object]]:
    """Return the condition of rows that were not seen yet, and the values of its parameters."""
    conditions: list[str] = []
    values: dict[str, object] = {}
    for number, ((topic_id, partition), end) in enumerate(sorted(moved.items())):
        conditions.append(_NEW.format(number=number))
        values |= {
            f"tail_topic_{number}": topic_id,
            f"tail_partition_{number}": partition,
            f"tail_from_{number}": seen.ends.get((topic_id, partition), 0),
            f"tail_end_{number}": end,
        }
    return " OR ".join(conditions), values


def _place(stored: StoredEvent) -> tuple[UUID, int, int]:
    return stored.topic_id, stored.kafka_partition, stored.kafka_offset


def _engine_order(at: _Partition) -> tuple[bytes, int]:
    # ClickHouse compares the second half of a UUID before the first.
    return at[0].bytes[8:] + at[0].bytes[:8], at[1]

"""Following an account's log: what has been recorded since a position, in the order of Kafka's offsets."""

from __future__ import annotations

import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from auditlog_schemas.errors import BadFilter
from auditlog_storage.account_query import AccountQuery
from auditlog_storage.connection import Connection
from auditlog_storage.filters import EventFilter, check_account
from auditlog_storage.snapshot import Snapshot
from auditlog_storage.stored_event import SELECTED, StoredEvent, stored_event

TAIL_EVENTS_MAX: Final = 1_000
ENDS_KEPT_SECONDS: Final = 0.5
"""All that follow a log in one process look at the ledger once in so many seconds."""

_Partition = tuple[UUID, int]


@dataclass(frozen=True, slots=True)
class TailPosition:
    """Up to where a reader has followed: an offset in each partition that the ledger knew."""

    seen: Snapshot

    def to_text(self) -> str:
        """Return it as text that is safe in a URL and a header. It is no secret and gives no access."""
        return urlsafe_b64encode(self.seen.to_bytes()).decode().rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> TailPosition:
        """Return the position of a text.

        Raises:
            BadFilter: it is none.
        """
        try:
            packed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            position = cls(Snapshot.from_bytes(packed))
            if position.to_text() == text:
                return position
        except (ValueError, Base64Error):
            pass
        raise BadFilter("last_event_id: is no position in a followed log; leave it out to begin now")


@dataclass(frozen=True, slots=True)
class Tail:
    """What was recorded after a position.

    Attributes:
        events: each with the position behind it.
        position: behind all that was looked at, whether or not the filter let it through.
        more: whether there is more already.
    """

    events: tuple[tuple[StoredEvent, TailPosition], ...]
    position: TailPosition
    more: bool = False


class LogTail:
    """Follows accounts; safe to share between threads.

    A row counts when the ledger has recorded its offset: below the end of a partition nothing is added any
    more, so that a reader who goes on from a position loses and repeats nothing, however batches of several
    partitions become visible. Within a partition, and an account is in one, the order is Kafka's.

    Raises what `AccountQuery` raises.
    """

    def __init__(self, connection: Connection) -> None:
        self._query = AccountQuery(connection)
        self._ends = _Kept(self._query)

    def after(self, account_id: str, filter: EventFilter, position: TailPosition | None, limit: int) -> Tail:
        """Return what has been recorded since.

        Args:
            account_id: whose log.
            filter: which events.
            position: where to go on; None begins now, with nothing.
            limit: events that are looked at, 1 to 1,000; the filter may let fewer through.
        """
        check_account(account_id)
        if not 1 <= limit <= TAIL_EVENTS_MAX:
            raise BadFilter(f"limit: must be 1 to {TAIL_EVENTS_MAX:,}, not {limit}")
        ends = self._ends.read()
        if position is None:
            return Tail((), TailPosition(Snapshot(ends)))
        moved = {at: end for at, end in ends.items() if end > position.seen.ends.get(at, 0)}
        if not moved:
            return Tail((), position)
        places = self._places(account_id, position.seen, moved, limit)
        reached = _Reached(position.seen, moved)
        more = len(places) == limit
        behind = reached.behind(places[-1]) if more else reached.all()
        found = self._events(account_id, filter, places)
        return Tail(tuple((stored, reached.behind(_place(stored))) for stored in found), behind, more)

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

    def __init__(self, seen: Snapshot, moved: dict[_Partition, int]) -> None:
        self._seen = seen.ends
        self._moved = moved
        # The order of the server's rows.
        self._order = sorted(moved, key=_engine_order)

    def behind(self, place: tuple[UUID, int, int] | tuple[UUID, int, int, UUID]) -> TailPosition:
        """Return the position behind a row."""
        at = place[0], place[1]
        before = self._order[: self._order.index(at)]
        passed = {each: self._moved[each] for each in before}
        return TailPosition(Snapshot({**self._seen, **passed, at: place[2] + 1}))

    def all(self) -> TailPosition:
        """Return the position behind everything."""
        return TailPosition(Snapshot({**self._seen, **self._moved}))


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

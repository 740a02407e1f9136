"""How many events there were when: bars of a readable length over a range of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from auditlog_schemas.errors import BadFilter
from auditlog_storage.account_query import AccountQuery, account_statement
from auditlog_storage.filters import EventFilter

BARS_MAX: Final = 1_000

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_WEEK: Final = 7 * _DAY
BAR_SECONDS: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2)),
    *(n * _WEEK for n in (1, 2, 4, 13, 26, 52)),
)
"""Lengths of a bar; longer ones are multiples of the last."""

# A Monday: bars of weeks begin on Mondays, those of days at midnight, those of hours at the full hour. And
# the first moment there is: no bar begins before it, and whatever range somebody asks for fits into one bar.
_ORIGIN: Final = datetime(1, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Bar:
    """How many events happened from `start` (aware UTC) on, for as long as a bar is."""

    start: datetime
    events: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars without a gap, oldest first; those without events are among them.

    Attributes:
        since: beginning of the range: what was asked for, else the account's oldest event; None when the
            account has no events and no range was asked for.
        until: its end, not included: what was asked for, else just behind the account's newest event.
        bar_seconds: length of a bar. The first one may begin before `since`, the last one end after `until`;
            only events within the range count.
        bars: the bars.
        total: events in all bars.
    """

    since: datetime | None
    until: datetime | None
    bar_seconds: int
    bars: tuple[Bar, ...]
    total: int


def read_histogram(query: AccountQuery, account_id: str, filter: EventFilter, bars_max: int) -> Histogram:
    """Return the histogram of an account's events; see `LogReader.histogram`."""
    if not 1 <= bars_max <= BARS_MAX:
        raise BadFilter(f"bars_max: must be 1 to {BARS_MAX:,}, not {bars_max}")
    since, until = filter.times()
    if since is None or until is None:
        oldest, newest = _ends(query, account_id)
        since = since or oldest
        until = until or (newest and newest + timedelta(microseconds=1))
    if since is None or until is None or since >= until:
        return Histogram(since, until, BAR_SECONDS[0], (), 0)
    seconds = _bar_seconds(since, until, bars_max)
    counts = _counts(query, account_id, filter, seconds)
    bar = timedelta(seconds=seconds)
    first, last = (since - _ORIGIN) // bar, (until - timedelta(microseconds=1) - _ORIGIN) // bar
    bars = tuple(Bar(_ORIGIN + number * bar, counts.get(number, 0)) for number in range(first, last + 1))
    return Histogram(since, until, seconds, bars, sum(bar.events for bar in bars))


def _bar_seconds(since: datetime, until: datetime, bars_max: int) -> int:
    last = until - timedelta(microseconds=1)

    def fits(seconds: int) -> bool:
        bar = timedelta(seconds=seconds)
        return (last - _ORIGIN) // bar - (since - _ORIGIN) // bar < bars_max

    for seconds in BAR_SECONDS:
        if fits(seconds):
            return seconds
    times = 2
    while not fits(BAR_SECONDS[-1] * times):
        times += 1
    return BAR_SECONDS[-1] * times


def _ends(query: AccountQuery, account_id: str) -> tuple[datetime | None, datetime | None]:
    # By the order of the table: one row each, and no look at the others.
    statements = [
        account_statement(account_id, EventFilter(), "occurred_at", f"ORDER BY occurred_at {order} LIMIT 1")
        for order in ("ASC", "DESC")
    ]
    sql = "\nUNION ALL\n".join(f"SELECT * FROM ({each})" for each, _ in statements)  # noqa: S608 - ours
    times = [time for (time,) in query.read(sql, statements[0][1])]
    return min(times, default=None), max(times, default=None)


def _counts(query: AccountQuery, account_id: str, filter: EventFilter, seconds: int) -> dict[int, int]:
    # Bars of whole days: by the projection, which has the days and not the times.
    time = "occurred_at" if seconds % _DAY else "toStartOfDay(occurred_at)"
    bar = f"intDiv(toInt64(toUnixTimestamp({time})) - {{origin:Int64}}, {{seconds:Int64}})"
    values = {"origin": (_ORIGIN - datetime(1970, 1, 1, tzinfo=UTC)) // _SECOND, "seconds": seconds}
    rows = query.rows(account_id, filter, f"{bar} AS bar, count()", "GROUP BY bar", values=values)
    return {int(number): int(events) for number, events in rows}

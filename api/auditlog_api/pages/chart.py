"""The histogram as a picture: where each bar stands, what it says and where it leads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from auditlog_storage.histogram import Histogram

HEIGHT: Final = 64
"""Of the highest bar, in CSS pixels. Widths are percentages, so that the picture fits every page."""
BAR_SHARE: Final = 0.8
BAR_HEIGHT_MIN: Final = 2.0
TICKS_MAX: Final = 7
EDGE_PERCENT: Final = 5.0
"""A tick that is nearer to an edge is left out: its text would not fit."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_TICK_SECONDS: Final = (
    *(1, 5, 15, 30),
    *(_MINUTE * count for count in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * count for count in (1, 2, 3, 6, 12)),
    *(_DAY * count for count in (1, 2, 7, 14, 28, 56, 91, 182, 364, 1820, 3640)),
)
# A Monday, as for the bars.
_ORIGIN: Final = datetime(1970, 1, 5, tzinfo=UTC)
_LAST: Final = datetime.max.replace(microsecond=0, tzinfo=UTC)
_UNITS: Final = ((7 * _DAY, "week"), (_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class ChartBar:
    """One bar: `x` and `width` in percent, `y` and `height` in pixels, for the time from start to end."""

    x: str
    width: str
    y: str
    height: str
    start: datetime
    end: datetime
    events: int
    href: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A time below the bars; `form` says how it is written: clock, time, day or month."""

    x: str
    at: datetime
    form: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The picture of a histogram.

    Attributes:
        bars: oldest first, all of them.
        ticks: oldest first.
        bar_length: how long a bar is, for example ``2 hours``.
        most: events of the highest bar.
        busiest: the highest bar; None when there are no events.
    """

    bars: tuple[ChartBar, ...]
    ticks: tuple[Tick, ...]
    bar_length: str
    most: int
    busiest: ChartBar | None


def chart_of(histogram: Histogram, href: Callable[[datetime, datetime], str]) -> Chart:
    """Return the picture.

    Args:
        histogram: of the events that the page is about.
        href: the link to the events from one time up to another.
    """
    count = len(histogram.bars)
    most = max((bar.events for bar in histogram.bars), default=0)
    step = timedelta(seconds=histogram.bar_seconds)
    bars = []
    for index, bar in enumerate(histogram.bars):
        end = _later(bar.start, step)
        height = max(BAR_HEIGHT_MIN, HEIGHT * bar.events / most) if bar.events else 0.0
        bars.append(
            ChartBar(
                x=_percent((index + (1 - BAR_SHARE) / 2) / count),
                width=_percent(BAR_SHARE / count),
                y=f"{HEIGHT - height:.1f}",
                height=f"{height:.1f}",
                start=bar.start,
                end=end,
                events=bar.events,
                href=href(bar.start, end),
            )
        )
    busiest = max(bars, key=lambda bar: bar.events, default=None)
    ticks = _ticks(bars[0].start, bars[-1].end) if bars else ()
    return Chart(tuple(bars), ticks, length_in_words(histogram.bar_seconds), most, busiest)


def length_in_words(seconds: int) -> str:
    """Return a length of time in the largest unit that divides it, for example ``15 minutes``."""
    for unit, name in _UNITS:
        if seconds % unit == 0:
            count = seconds // unit
            return f"{count} {name}{'s' if count != 1 else ''}"
    raise AssertionError("a second divides everything")


def _ticks(since: datetime, until: datetime) -> tuple[Tick, ...]:
    length = (until - since).total_seconds()
    seconds = next((each for each in _TICK_SECONDS if length / each <= TICKS_MAX), _TICK_SECONDS[-1])
    step = timedelta(seconds=seconds)
    forms = ((_MINUTE, "clock"), (_DAY, "time"), (28 * _DAY, "day"))
    form = next((name for below, name in forms if seconds < below), "month")
    at = _later(since, (_ORIGIN - since) % step)
    found = []
    while at < until:
        share = (at - since) / (until - since)
        if EDGE_PERCENT <= share * 100 <= 100 - EDGE_PERCENT:
            found.append(Tick(_percent(share), at, form))
        at = _later(at, step)
    return tuple(found)


def _later(at: datetime, step: timedelta) -> datetime:
    # Somebody may ask for all time there is.
    return at + min(step, _LAST - at)


def _percent(share: float) -> str:
    return f"{share * 100:.3f}%"

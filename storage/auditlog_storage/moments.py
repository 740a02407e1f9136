"""Times as people write them, and as we write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from auditlog_schemas.errors import BadFilter

_AGO: Final = re.compile(r"(?:now\s*-\s*)?(\d{1,9})\s*(s|m|h|d|w)", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII | re.I
)
EXAMPLES: Final = "24h, 3d, today, yesterday, 2026-11-01 or 2026-11-01T09:30:00Z"

_INSTANT: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as it was written: from `start` up to, and not including, `end` (both aware UTC).

    A date is its whole day, a time its whole minute, second or microsecond, whichever was written last.

    Attributes:
        is_relative: it depends on when it was read, as ``3d`` and ``yesterday`` do.
        is_point: it names a point on the way to now, as ``3d`` and ``now`` do, and no stretch of time.
    """

    start: datetime
    end: datetime
    is_relative: bool = False
    is_point: bool = False


def read_moment(text: str, now: datetime) -> Moment:
    """Return the time that `text` means.

    ``90s``, ``15m``, ``24h``, ``3d`` and ``2w``, also written ``now-3d``, are that long before `now`;
    ``today`` and ``yesterday`` are days; a time without a zone, like a date, is UTC.

    Raises:
        ValueError: it is none of these, or lies outside of the years 1 to 9999.
    """
    now = now.astimezone(UTC)
    word = text.strip().lower()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if word == "now":
            return _point(now)
        if ago := _AGO.fullmatch(word):
            return _point(now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]]))
        if word in ("today", "yesterday"):
            start = today if word == "today" else today - _DAY
            return Moment(start, start + _DAY, is_relative=True)
        return _written(text.strip())
    except OverflowError:
        raise ValueError("outside of the years 1 to 9999") from None


def parse_moment(name: str, text: str, now: datetime | None = None) -> datetime:
    """Return the time that `text` means or begins with, aware UTC; see `read_moment`.

    Raises:
        BadFilter: it is no time; the message starts with `name`.
    """
    try:
        return read_moment(text, now or datetime.now(UTC)).start
    except ValueError:
        raise BadFilter(f"{name}: {text!r:.60} is not a time; write {EXAMPLES}") from None


def rfc3339(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC, with as many decimals as it needs."""
    text = moment.astimezone(UTC).isoformat(timespec="auto").replace("+00:00", "")
    return (text.rstrip("0") if "." in text else text) + "Z"


def _point(moment: datetime) -> Moment:
    return Moment(moment, moment + _INSTANT, is_relative=True, is_point=True)


def _written(text: str) -> Moment:
    if _DATE.fullmatch(text):
        start = datetime.fromisoformat(text).replace(tzinfo=UTC)
        return Moment(start, start + _DAY)
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("not a time")
    start = datetime.fromisoformat(text.upper())
    start = (start if start.tzinfo else start.replace(tzinfo=UTC)).astimezone(UTC)
    seconds, fraction, _ = found.groups()
    unit = _INSTANT if fraction else timedelta(seconds=1) if seconds else timedelta(minutes=1)
    return Moment(start, start + unit)

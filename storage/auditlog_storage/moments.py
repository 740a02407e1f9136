"""Times as people write them, and as we write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from auditlog_schemas.errors import BadFilter

_AGO: Final = re.compile(r"(\d{1,9})\s*(s|m|h|d|w)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
EXAMPLES: Final = "24h, 3d, today, yesterday, 2026-11-01 or 2026-11-01T09:30:00Z"


def parse_moment(name: str, text: str, now: datetime | None = None) -> datetime:
    """Return the time that `text` means, aware UTC.

    ``90s``, ``15m``, ``24h``, ``3d`` and ``2w`` are that long before `now`; a date is its midnight; a time
    without a zone is UTC.

    Raises:
        BadFilter: it is none of these; the message starts with `name`.
    """
    now = now or datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    word = text.strip().lower()
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if word in named:
        return named[word]
    try:
        if ago := _AGO.fullmatch(word):
            return now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadFilter(f"{name}: {text!r:.60} is not a time; write {EXAMPLES}") from None


def rfc3339(moment: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC, with as many decimals as it needs."""
    text = moment.astimezone(UTC).isoformat(timespec="auto").replace("+00:00", "")
    return (text.rstrip("0") if "." in text else text) + "Z"

"""Times as people write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from auditlog_schemas.errors import BadFilter
from auditlog_storage.moments import parse_moment, rfc3339

NOW = datetime(2026, 11, 23, 7, 30, 15, 500_000, UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("90s", NOW - timedelta(seconds=90)),
        ("15m", NOW - timedelta(minutes=15)),
        ("24h", NOW - timedelta(hours=24)),
        ("3 d", NOW - timedelta(days=3)),
        ("2W", NOW - timedelta(days=14)),
        ("today", datetime(2026, 11, 23, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T09:30:00Z", datetime(2026, 11, 1, 9, 30, tzinfo=UTC)),
        ("2026-11-01T09:30:00+02:00", datetime(2026, 11, 1, 7, 30, tzinfo=UTC)),
        (" 2026-11-01 09:30 ", datetime(2026, 11, 1, 9, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_understood(text: str, expected: datetime) -> None:
    assert parse_moment("--since", text, NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "soon", "-3d", "3y", "2026-13-01", "999999999d", "0001-01-01T00:00:00+23:00"]
)
def test_another_text_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadFilter, match=r"--since: .*24h, 3d, today"):
        parse_moment("--since", text, NOW)


def test_rfc3339() -> None:
    assert rfc3339(NOW) == "2026-11-23T07:30:15.5Z"
    assert rfc3339(NOW.replace(microsecond=0)) == "2026-11-23T07:30:15Z"
    assert rfc3339(NOW.astimezone(timezone(timedelta(hours=9)))) == "2026-11-23T07:30:15.5Z"

"""What a page says about how far the log is."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from auditlog_api.health import Health, State
from auditlog_api.pages.completeness import Completeness, CompletenessOfLog, completeness

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
RECENT, OLD = NOW - timedelta(seconds=5), NOW - timedelta(minutes=10)


def document(up_to: datetime | None, **kafka: Any) -> dict[str, Any]:
    return {"log": {"complete_up_to": up_to}, "kafka": kafka or None}


@pytest.mark.parametrize(
    ("found", "up_to", "trouble"),
    [
        (document(OLD, ok=True, lag_offsets=0), NOW, ""),
        (document(RECENT, ok=True, lag_offsets=7), RECENT, ""),
        (document(OLD, ok=True, lag_offsets=1), OLD, "1 newer event will be here soon."),
        (document(OLD, ok=True, lag_offsets=1200), OLD, "1,200 newer events will be here soon."),
        (document(None, ok=True, lag_offsets=3), None, "3 newer events will be here soon."),
        (document(OLD, ok=False), OLD, "Kafka does not answer, newer events may be waiting there."),
        (document(OLD), OLD, ""),
        ({"log": None, "kafka": None}, None, ""),
        ({"log": {"complete_up_to": "2026-11-25T11:50:00Z"}, "kafka": None}, OLD, ""),
    ],
)
def test_what_is_said(found: dict[str, Any], up_to: datetime | None, trouble: str) -> None:
    assert completeness(found, NOW) == Completeness(up_to, trouble)


class WaitingHealth(Health):
    """Answers when it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()

    async def state(self) -> State:
        await self.may_answer.wait()
        return State(True, document(OLD, ok=True, lag_offsets=2))


def test_a_page_waits_for_the_first_answer_only_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> tuple[Completeness, Completeness]:
        health = WaitingHealth()
        known = CompletenessOfLog(health)
        monkeypatch.setattr("auditlog_api.pages.completeness.WAIT_SECONDS_MAX", 0.05)
        first = await known.now()
        monkeypatch.setattr("auditlog_api.pages.completeness.WAIT_SECONDS_MAX", 60)
        health.may_answer.set()
        return first, await known.now()

    first, second = asyncio.run(look())
    assert first == Completeness(None, "")
    assert second.trouble == "2 newer events will be here soon."

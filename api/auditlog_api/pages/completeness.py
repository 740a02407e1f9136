"""Up to when the log on a page is complete, and whether it lags: said without making the page wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from auditlog_api.health import Health

WAIT_SECONDS_MAX: Final = 0.5
"""A page waits for this long when nothing is known; Kafka may need far longer to say that it is away."""
BELIEVED_SECONDS: Final = 30.0
LAGGING_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Completeness:
    """How far the log is.

    Attributes:
        up_to: every event that Kafka took before is stored; None when that is not known.
        trouble: what to say to people when newer events are missing; else empty.
    """

    up_to: datetime | None
    trouble: str


class CompletenessOfLog:
    """Asks for the state of things in the background and remembers the last answer.

    Args:
        health: looks at ClickHouse, the ledger and Kafka.
    """

    def __init__(self, health: Health) -> None:
        self._health = health
        self._known: tuple[float, Completeness] | None = None
        self._asking: asyncio.Task[None] | None = None

    async def now(self) -> Completeness:
        """Return what was found at most `BELIEVED_SECONDS` ago; never raises."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        if self._known is None or time.monotonic() - self._known[0] > BELIEVED_SECONDS:
            await asyncio.wait([self._asking], timeout=WAIT_SECONDS_MAX)
        if self._known is None or time.monotonic() - self._known[0] > BELIEVED_SECONDS:
            return Completeness(None, "")
        return self._known[1]

    async def _ask(self) -> None:
        state = await self._health.state()
        self._known = (time.monotonic(), completeness(state.document, datetime.now(UTC)))


def completeness(document: Mapping[str, Any], now: datetime) -> Completeness:
    """Return what the document of ``/readyz`` says about the log.

    Args:
        document: what it says.
        now: when it was made.
    """
    log, kafka = document.get("log") or {}, document.get("kafka")
    up_to = _moment(log.get("complete_up_to"))
    if kafka is None:
        return Completeness(up_to, "")
    if not kafka.get("ok"):
        return Completeness(up_to, "Kafka does not answer, newer events may be waiting there.")
    waiting = kafka.get("lag_offsets", 0)
    if not waiting:
        return Completeness(now, "")
    if up_to is None or (now - up_to).total_seconds() > LAGGING_SECONDS:
        plural = "" if waiting == 1 else "s"
        return Completeness(up_to, f"{waiting:,} newer event{plural} will be here soon.")
    return Completeness(up_to, "")


def _moment(value: object) -> datetime | None:
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    return value if isinstance(value, datetime) else None

"""Where and how a partition starts: what recovery found out."""

from __future__ import annotations

from dataclasses import dataclass

from auditlog_consumer.engine_clock import EngineClock
from auditlog_consumer.intent import Intent
from auditlog_consumer.window import Window


@dataclass(frozen=True, slots=True)
class Start:
    """The start of an epoch.

    Attributes:
        offset: the first offset that the ledger does not cover.
        replay: the intent that starts there, to be replayed exactly.
        stored_until: rows at or beyond this offset cannot be stored yet: nobody was to insert them.
        window: the accepted events before `offset`.
        clock: ClickHouse's.
    """

    offset: int
    replay: Intent | None
    stored_until: int
    window: Window
    clock: EngineClock

"""Some days of the demonstration's vendor, stored without Kafka, for pages and screenshots."""

from __future__ import annotations

from datetime import datetime, timedelta

from auditlog_cli.demo.day import Day
from auditlog_schemas.event import AuditEvent

ACCOUNT = "acc_aurora"


def vendor_days(end: datetime, days: int, events_a_day: int) -> list[AuditEvent]:
    """Return the busiest account's events of the days before `end`, oldest first."""
    found: list[AuditEvent] = []
    for ago in reversed(range(days)):
        day = Day(end - timedelta(days=ago), events_a_day * 4, seed=42 + ago)
        found += [event for event in day.events() if event.account_id == ACCOUNT]
    return found

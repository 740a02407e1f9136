"""The day: which account does how much, when, and in which order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import accumulate
from typing import Final
from uuid import UUID

from auditlog_cli.demo.deed import Deed
from auditlog_cli.demo.names import ACCOUNTS
from auditlog_cli.demo.people import choose_doer
from auditlog_cli.demo.repertoire import REPERTOIRE, Part
from auditlog_cli.demo.vendor import Vendor
from auditlog_schemas.event import AuditEvent, Source
from auditlog_schemas.record import micros_of

SEED: Final = 42
STORY_EVENTS_MIN: Final = 6
STORY_EVENTS_MAX: Final = 12

_RHYTHM: Final = (2, 1.5, 1, 1, 1, 1.5, 3, 5, 8, 10, 10, 9, 8, 9, 10, 10, 9, 7, 5, 4, 3.5, 3, 2.5, 2)
"""How busy each hour of a vendor's own day is."""
_HOURS_AHEAD_OF_UTC: Final = (1, 0, 1, 2, -5, 0, 1, -8, 9, 1)
_WEIGHTS: Final = tuple(accumulate(part.weight for part in REPERTOIRE))
_PARTS: Final = {part.action: part for part in REPERTOIRE}
# The SDK writes its own source over it.
_SOURCE: Final = Source(service="demo", instance_id="demo", sequence=0)


class Day:
    """The 24 hours before `end`, all accounts together. The same arguments give the same events."""

    def __init__(self, end: datetime, events: int, seed: int = SEED) -> None:
        self._end = end
        self._seed = seed
        self.sizes = dict(zip(ACCOUNTS, _shares(events, len(ACCOUNTS)), strict=True))
        self.vendors: dict[str, Vendor] = {}
        """The accounts as they stand, once all events were yielded."""
        self._histories: dict[tuple[str, str], list[str]] = {}

    def events(self) -> Iterator[AuditEvent]:
        """Yield the events of all accounts, oldest first."""
        streams = [self._of_account(rank, account) for rank, account in enumerate(self.sizes)]
        for _, _, event in merge(*streams, key=lambda item: item[:2]):
            yield event

    def story(self) -> tuple[str, str]:
        """Return the account and id of a license that had an eventful day, once all events were yielded."""

        def eventful(item: tuple[tuple[str, str], list[str]]) -> tuple[bool, int, int]:
            actions = item[1]
            readable = STORY_EVENTS_MIN <= len(actions) <= STORY_EVENTS_MAX
            return readable and actions[0] == "license_created", len(set(actions)), len(actions)

        busiest = ACCOUNTS[0]
        candidates = [item for item in self._histories.items() if item[0][0] == busiest]
        return max(candidates, key=eventful)[0]

    def _of_account(self, rank: int, account_id: str) -> Iterator[tuple[int, int, AuditEvent]]:
        """Yield (microseconds, rank, event); the rank decides between equal times."""
        rng = random.Random(f"{self._seed}/{account_id}")  # noqa: S311 - a reproducible play, no secret
        vendor = self.vendors[account_id] = Vendor(account_id, rng)
        shift = _HOURS_AHEAD_OF_UTC[rank % len(_HOURS_AHEAD_OF_UTC)]
        for moment in _times(rng, self._end, self.sizes[account_id], shift):
            part, deed = _next_deed(vendor)
            for item in (deed.entity, *deed.related):
                if item.type == "license":
                    self._histories.setdefault((account_id, item.id), []).append(part.action)
            yield micros_of(moment), rank, _event(vendor, part, deed, moment)


def _next_deed(vendor: Vendor) -> tuple[Part, Deed]:
    while True:
        if vendor.ordered and vendor.rng.random() < 0.7:
            part = _PARTS["license_created"]
        else:
            [part] = vendor.rng.choices(REPERTOIRE, cum_weights=_WEIGHTS)
        deed = part.act(vendor)
        if deed is not None:
            return part, deed


def _event(vendor: Vendor, part: Part, deed: Deed, moment: datetime) -> AuditEvent:
    actor, context = choose_doer(vendor, part.doers)
    # Unchecked here: publishing checks every event, and twice would take twice as long.
    return AuditEvent.model_construct(
        event_id=_event_id(vendor.rng, moment),
        account_id=vendor.account_id,
        occurred_at=moment,
        action=part.action,
        entity=deed.entity,
        related=deed.related,
        source=_SOURCE,
        actor=actor,
        context=context,
        changes=deed.changes,
        metadata=dict(deed.metadata),
    )


def _event_id(rng: random.Random, moment: datetime) -> UUID:
    """Return a UUIDv7 (RFC 9562, section 5.7) of that moment."""
    value = (micros_of(moment) // 1000 << 80) | (7 << 76) | (rng.getrandbits(12) << 64)
    return UUID(int=value | (2 << 62) | rng.getrandbits(62))


def _times(rng: random.Random, end: datetime, count: int, hours_ahead: int) -> list[datetime]:
    """Return `count` times of the 24 hours before `end`, oldest first, in the rhythm of a working day."""
    start = end.astimezone(UTC) - timedelta(hours=24)
    weights = [_RHYTHM[(start.hour + hour + hours_ahead) % 24] for hour in range(24)]
    hours = rng.choices(range(24), weights, k=count)
    return sorted(start + timedelta(hours=hour + rng.random()) for hour in hours)


def _shares(total: int, parts: int) -> list[int]:
    """Divide `total` in proportion to 1, 1/2, 1/3, … (Zipf's law with exponent 1)."""
    weights = [1 / rank for rank in range(1, parts + 1)]
    shares = [int(total * weight / sum(weights)) for weight in weights]
    shares[0] += total - sum(shares)
    return shares

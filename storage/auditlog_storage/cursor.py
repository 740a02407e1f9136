"""Where a page ended: a sealed text that continues the same question and no other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from struct import Struct
from typing import Final
from uuid import UUID

from auditlog_schemas.errors import BadFilter
from auditlog_schemas.event import datetime_of
from auditlog_schemas.record import micros_of
from auditlog_storage.filters import EventFilter
from auditlog_storage.sealed import Seal
from auditlog_storage.snapshot import Snapshot

# Direction, microseconds since 1970 of position and now, event id; big-endian.
_HEAD: Final = Struct(">Bqq16s")
_KIND: Final = "cursor 3"


@dataclass(frozen=True, slots=True)
class Position:
    """An event's place in its account's log."""

    occurred_at_micros: int
    event_id: UUID


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins.

    Attributes:
        position: the event next to the page, which is not on it.
        newer: the page lies on the newer side of that event.
        now: what the question's relative times count from, on all of its pages.
        snapshot: which rows there are, on all of its pages.
    """

    position: Position
    newer: bool
    now: datetime | None
    snapshot: Snapshot


def encode_cursor(seal: Seal, cursor: Cursor, account_id: str, filter: EventFilter) -> str:
    """Return the text for a place in the events of `account_id` that match `filter`; it is URL-safe."""
    at = cursor.position
    now = micros_of(cursor.now) if cursor.now is not None else -1
    head = _HEAD.pack(cursor.newer, at.occurred_at_micros, now, at.event_id.bytes)
    return seal.seal(head + cursor.snapshot.to_bytes(), _KIND, account_id, filter.question())


def decode_cursor(seal: Seal, text: str, account_id: str, filter: EventFilter) -> Cursor:
    """Return what a text means.

    Raises:
        BadFilter: it is no cursor of this installation, or one of another account or filter.
    """
    packed = seal.open(text, _KIND, account_id, filter.question())
    if packed is None:
        raise BadFilter("cursor: not one of this question's pages; ask again without a cursor")
    newer, micros, now, event_id = _HEAD.unpack_from(packed)
    return Cursor(
        Position(micros, UUID(bytes=event_id)),
        bool(newer),
        datetime_of(now) if now >= 0 else None,
        Snapshot.from_bytes(packed[_HEAD.size :]),
    )

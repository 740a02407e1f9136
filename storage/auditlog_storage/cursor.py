"""Where a page ended: an opaque token that continues the same question and no other."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from struct import Struct
from typing import Final
from uuid import UUID

from auditlog_schemas.errors import BadFilter
from auditlog_schemas.event import datetime_of
from auditlog_schemas.record import micros_of
from auditlog_storage.filters import EventFilter
from auditlog_storage.snapshot import Snapshot

# Version, direction, microseconds since 1970 of position and now, event id; big-endian.
_HEAD: Final = Struct(">BBqq16s")
_VERSION: Final = 2
_DIGEST_BYTES: Final = 15
_TOKEN_CHARACTERS_MAX: Final = 20_000


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


def encode_cursor(cursor: Cursor, account_id: str, filter: EventFilter) -> str:
    """Return the token for a place in the events of `account_id` that match `filter`.

    It is URL-safe. Its digest binds it to the account and the filter and shows accidental changes; it is
    no secret and gives no access: the account always comes from the caller.
    """
    at = cursor.position
    now = micros_of(cursor.now) if cursor.now is not None else -1
    body = _HEAD.pack(_VERSION, cursor.newer, at.occurred_at_micros, now, at.event_id.bytes)
    body += cursor.snapshot.to_bytes()
    return urlsafe_b64encode(body + _digest(body, account_id, filter)).decode().rstrip("=")


def decode_cursor(token: str, account_id: str, filter: EventFilter) -> Cursor:
    """Return what a token means.

    Raises:
        BadFilter: the token is damaged, or was made for another account or filter.
    """
    refused = BadFilter("cursor: not one of this question's pages; ask again without a cursor")
    if len(token) > _TOKEN_CHARACTERS_MAX or not token.isascii():
        raise refused
    try:
        packed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except Base64Error:
        raise refused from None
    if urlsafe_b64encode(packed).decode().rstrip("=") != token:
        raise refused
    body, digest = packed[:-_DIGEST_BYTES], packed[-_DIGEST_BYTES:]
    if len(body) < _HEAD.size or digest != _digest(body, account_id, filter):
        raise refused
    try:
        version, newer, micros, now, event_id = _HEAD.unpack_from(body)
        snapshot = Snapshot.from_bytes(body[_HEAD.size :])
        counted_from = datetime_of(now) if now >= 0 else None
    except (ValueError, OverflowError):
        raise refused from None
    if version != _VERSION:
        raise refused
    return Cursor(Position(micros, UUID(bytes=event_id)), bool(newer), counted_from, snapshot)


def _digest(body: bytes, account_id: str, filter: EventFilter) -> bytes:
    question = json.dumps([account_id, filter.question()])
    return sha256(question.encode() + b"\0" + body).digest()[:_DIGEST_BYTES]

"""Where a page ended: an opaque token that continues the same question and no other."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import Final
from uuid import UUID

from auditlog_schemas.errors import BadFilter
from auditlog_storage.filters import EventFilter

# Version, microseconds since 1970, event id, digest; big-endian. 40 bytes are 54 characters of base64.
_FORM: Final = Struct(">Bq16s15s")
_VERSION: Final = 1
_TOKEN_CHARACTERS: Final = 54


@dataclass(frozen=True, slots=True)
class Position:
    """The last event of a page: the next page starts behind it."""

    occurred_at_micros: int
    event_id: UUID


def encode_cursor(position: Position, account_id: str, filter: EventFilter) -> str:
    """Return the token for a position in the events of `account_id` that match `filter`.

    It is URL-safe. Its digest binds it to the account and the filter and shows accidental changes; it is
    no secret and gives no access: the account always comes from the caller.
    """
    digest = _digest(position, account_id, filter)
    packed = _FORM.pack(_VERSION, position.occurred_at_micros, position.event_id.bytes, digest)
    return urlsafe_b64encode(packed).decode().rstrip("=")


def decode_cursor(token: str, account_id: str, filter: EventFilter) -> Position:
    """Return the position of a token.

    Raises:
        BadFilter: the token is damaged, or was made for another account or filter.
    """
    refused = BadFilter("cursor: not one of this question's pages; ask again without a cursor")
    if len(token) != _TOKEN_CHARACTERS or not token.isascii():
        raise refused
    try:
        packed = urlsafe_b64decode(token + "==")
    except Base64Error:
        raise refused from None
    if len(packed) != _FORM.size or urlsafe_b64encode(packed).decode().rstrip("=") != token:
        raise refused
    version, micros, event_id, digest = _FORM.unpack(packed)
    position = Position(micros, UUID(bytes=event_id))
    if version != _VERSION or digest != _digest(position, account_id, filter):
        raise refused
    return position


def _digest(position: Position, account_id: str, filter: EventFilter) -> bytes:
    conditions, values = filter.conditions()
    question = [
        account_id,
        sorted(conditions),
        values,
        position.occurred_at_micros,
        position.event_id.hex,
    ]
    return sha256(json.dumps(question, sort_keys=True).encode()).digest()[:15]

"""Actions of the audit log itself, `audit_*`: events that only it may publish, and that it signs."""

from __future__ import annotations

import hmac
import json
from typing import Final
from uuid import UUID

from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.record import Record

OWN_PREFIX: Final = "audit_"
"""Actions that begin so are the audit log's own."""

SIGNATURE: Final = "audit_signature"
"""The key of their metadata that holds the signature; it is not stored."""

UNSIGNED: Final = "own_action_unsigned"
"""The rule that an event with such an action and without a right signature breaks."""


def signed(record: Record, key: bytes) -> Record:
    """Return the record with its signature in the metadata."""
    return record | {"metadata": record["metadata"] | {SIGNATURE: signature(record, key)}}


def signature(record: Record, key: bytes) -> str:
    """Return HMAC-SHA256 in hex over all of a record but a signature: id, account, time and source too."""
    metadata = {name: value for name, value in record["metadata"].items() if name != SIGNATURE}
    content = record | {"event_id": str(UUID(record["event_id"])), "metadata": metadata}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hmac.digest(key, text.encode(), "sha256").hex()


def require_signed(record: Record, key: bytes) -> None:
    """Check that a record of an own action was signed with this key.

    Raises:
        InvalidEvent: rule ``own_action_unsigned``; other actions are none of its concern.
    """
    if not record["action"].startswith(OWN_PREFIX):
        return
    found = record["metadata"].get(SIGNATURE)
    if found is None:
        raise InvalidEvent(UNSIGNED, "action", f"{record['action']!r:.80} is not signed by the audit log")
    if not hmac.compare_digest(found.encode(), signature(record, key).encode()):
        detail = f"{record['action']!r:.80} has a signature that does not fit the event, or of another key"
        raise InvalidEvent(UNSIGNED, "action", detail)

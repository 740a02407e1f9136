"""Reading an event from JSON, the shape that `auditlog_storage.event_json` writes.

    {"account_id": "acc_1", "action": "license_updated",
     "entity": {"type": "license", "id": "lic_1", "name": "Pro seat"},
     "actor": {"type": "platform_user", "id": "usr_7", "name": "Ada"},
     "changes": [{"field": "seats", "before": "5", "after": "10"}]}

`before` and `after` are JSON text. Reading is kinder than writing: a value that is no string, and a string
that is not JSON text, are turned into JSON text. Null and a missing key mean absent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from auditlog_schemas.errors import InvalidEvent
from auditlog_storage.event_json import STORED_KEYS

if TYPE_CHECKING:
    from auditlog_schemas.event import AuditEvent


def parse_event(value: Mapping[str, Any]) -> AuditEvent:
    """Return the event of JSON-like data; a missing id, time and source are filled in.

    Raises:
        InvalidEvent: a field is missing, unknown, of the wrong type or over its limit.
    """
    from auditlog_schemas.event import AuditEvent, new_event_id

    fields = {name: item for name, item in value.items() if name not in STORED_KEYS}
    fields.setdefault("event_id", str(new_event_id()))
    fields.setdefault("occurred_at", datetime.now(UTC))
    # Stands in until the producer writes its own.
    fields.setdefault("source", {"service": "auditlog-cli", "instance_id": "none", "sequence": 0})
    if isinstance(changes := fields.get("changes"), list):
        fields["changes"] = [_change_text(change) for change in changes]
    return AuditEvent.parse(fields)


def _change_text(change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    return {name: _text(item) if name in ("before", "after") else item for name, item in change.items()}


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and _is_json(value)):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise InvalidEvent("wrong_type", "changes", "a value is nested too deep") from None


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")

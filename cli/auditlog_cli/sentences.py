"""How an event reads: its sentence, and its changes in a few words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from auditlog_schemas.inert import shortened

if TYPE_CHECKING:
    from auditlog_schemas.event import AuditEvent, Change

CHANGES_SHOWN_MAX: Final = 2
VALUE_CHARACTERS_MAX: Final = 24
SENTENCE_CHARACTERS_MAX: Final = 300


def changes_in_words(event: AuditEvent) -> str:
    """Return what changed, for example ``seats 5 → 10, +3 more``."""
    shown = [_in_words(change) for change in event.changes[:CHANGES_SHOWN_MAX]]
    left = len(event.changes) - len(shown)
    return ", ".join([*shown, f"+{left} more"] if left else shown)


def _in_words(change: Change) -> str:
    name = shortened(change.field, VALUE_CHARACTERS_MAX)
    if change.before is None and change.after is None:
        return name
    if change.before is None:
        return f"{name} = {_value(change.after or '')}"
    if change.after is None:
        return f"{name} {_value(change.before)} removed"
    return f"{name} {_value(change.before)} → {_value(change.after)}"


def _value(text: str) -> str:
    """Return JSON text as people read it: a string without its quotes, anything else as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    shown = value if isinstance(value, str) and value else text
    return shortened(shown or '""', VALUE_CHARACTERS_MAX)

"""Events as CSV (RFC 4180): one flat row for each, the names those of the view `audit_log_v1`.

Related entities, changes and metadata are JSON in one cell each. A cell that a spreadsheet would take for a
formula gets an apostrophe in front of it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any, Final

from auditlog_storage.event_json import event_json
from auditlog_storage.formula import neutral
from auditlog_storage.stored_event import StoredEvent

CSV_COLUMNS: Final = (
    "event_id",
    "account_id",
    "occurred_at",
    "received_at",
    "action",
    "action_version",
    "entity_type",
    "entity_id",
    "entity_name",
    "related",
    "actor_type",
    "actor_id",
    "actor_name",
    "actor_email",
    "actor_impersonator_id",
    "service",
    "service_instance",
    "service_sequence",
    "ip",
    "user_agent",
    "request_id",
    "changes",
    "metadata",
    "topic_id",
    "kafka_partition",
    "kafka_offset",
)
"""The header, in order."""


def csv_header() -> str:
    """Return the header line."""
    return _lines([CSV_COLUMNS])


def csv_rows(events: Iterable[StoredEvent]) -> str:
    """Return a line for each event; each ends with CR LF, and a cell may hold line breaks in quotes."""
    return _lines(_row(event) for event in events)


def _row(stored: StoredEvent) -> Sequence[object]:
    whole = event_json(stored)
    entity, actor, source = whole["entity"], whole["actor"], whole["source"]
    context, kafka = whole.get("context", {}), whole["kafka"]
    cells: tuple[Any, ...] = (
        *(whole[name] for name in CSV_COLUMNS[:6]),
        *(entity.get(name) for name in ("type", "id", "name")),
        _json(whole.get("related")),
        *(actor.get(name) for name in ("type", "id", "name", "email", "impersonator_id")),
        *(source[name] for name in ("service", "instance_id", "sequence")),
        *(context.get(name) for name in ("ip", "user_agent", "request_id")),
        _json(whole.get("changes")),
        _json(whole.get("metadata")),
        *(kafka[name] for name in ("topic_id", "partition", "offset")),
    )
    return [neutral(cell) if isinstance(cell, str) else cell for cell in cells]


def _json(value: Any) -> str | None:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else None


def _lines(rows: Iterable[Sequence[object]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()

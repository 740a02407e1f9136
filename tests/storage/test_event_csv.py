"""Events as CSV."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog_schemas.event import AuditEvent, Change, Entity
from auditlog_storage.event_csv import CSV_COLUMNS, csv_header, csv_rows
from auditlog_storage.event_json import event_json
from auditlog_storage.formula import FORMULA, neutral
from auditlog_storage.stored_event import StoredEvent
from auditlog_storage.view import CREATE_AUDIT_LOG_V1
from kit.events import make_event

TOPIC = UUID(int=7)


def stored(event: AuditEvent) -> StoredEvent:
    return StoredEvent(event, TOPIC, 3, 1200, datetime(2026, 11, 1, 9, 30, 1, 125_000, UTC))


def read(*events: AuditEvent) -> list[dict[str, str]]:
    text = csv_header() + csv_rows(map(stored, events))
    return list(csv.DictReader(StringIO(text, newline=""), strict=True))


def test_a_row_holds_the_whole_event() -> None:
    event = make_event()
    [row] = read(event)
    whole: dict[str, Any] = event_json(stored(event))
    assert tuple(row) == CSV_COLUMNS
    assert row["event_id"] == whole["event_id"]
    assert row["occurred_at"] == whole["occurred_at"]
    assert row["received_at"] == "2026-11-01T09:30:01.125Z"
    assert (row["entity_type"], row["entity_id"], row["entity_name"]) == ("license", "lic_1", "Pro seat")
    assert (row["actor_id"], row["actor_email"], row["actor_impersonator_id"]) == (
        "usr_1",
        "ada@example.com",
        "",
    )
    assert (row["service"], row["service_instance"], row["service_sequence"]) == ("tests", "t-1", "1")
    assert (row["topic_id"], row["kafka_partition"], row["kafka_offset"]) == (str(TOPIC), "3", "1200")
    for name in ("related", "changes", "metadata"):
        assert json.loads(row[name]) == whole[name]


def test_what_an_event_lacks_is_an_empty_cell() -> None:
    [row] = read(make_event(related=(), changes=(), metadata={}))
    assert [row[name] for name in ("related", "changes", "metadata")] == ["", "", ""]


def test_the_columns_are_called_as_in_the_view() -> None:
    nested = {"related", "changes"}
    assert all(name in CREATE_AUDIT_LOG_V1 for name in set(CSV_COLUMNS) - nested)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=5))
def test_hostile_text_stays_in_its_cell(texts: list[str]) -> None:
    events = [
        make_event(
            entity=Entity(type="license", id="lic_1", name=text or None),
            changes=(Change.of("seats", None, text),),
            metadata={"note": text},
        )
        for text in texts
    ]
    rows = read(*events)
    assert len(rows) == len(texts)
    for text, row in zip(texts, rows, strict=True):
        assert row["entity_name"] == neutral(text)
        assert json.loads(json.loads(row["changes"])[0]["after"]) == text
        assert json.loads(row["metadata"])["note"] == text
        assert not any(FORMULA.match(cell) for cell in row.values() if not cell.startswith("'"))


def test_lines_end_as_rfc_4180_says() -> None:
    text = csv_header() + csv_rows([stored(make_event())])
    assert text.count("\r\n") == text.count("\n") == 2

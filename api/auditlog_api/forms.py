"""The forms in which events are answered: JSON, JSON lines and CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic_core import to_json

from auditlog_schemas.catalog import Catalog
from auditlog_storage.event_csv import csv_header, csv_rows
from auditlog_storage.event_json import event_json
from auditlog_storage.reader import Page
from auditlog_storage.stored_event import StoredEvent

JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonl"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
FORMS: Final = (JSON, JSON_LINES, NDJSON, CSV)
"""What pages of events are answered as; the first one is for whoever accepts anything."""

CONTENT_TYPES: Final = {
    JSON: JSON,
    JSON_LINES: JSON_LINES,
    NDJSON: NDJSON,
    CSV: "text/csv; charset=utf-8; header=present",
}

AsJson = Callable[[StoredEvent], dict[str, Any]]


def as_json(catalog: Catalog, sentences: bool) -> AsJson:
    """Return a function from a stored event to its JSON, with its sentence when that is asked for."""
    if not sentences:
        return event_json
    return lambda stored: event_json(stored) | {"sentence": catalog.sentence(stored.event)}


def page_body(page: Page, form: str, event_as_json: AsJson) -> bytes:
    """Return a page in one of `FORMS`."""
    if form == CSV:
        return (csv_header() + csv_rows(page.events)).encode()
    if form == JSON:
        whole = {
            "events": [event_as_json(stored) for stored in page.events],
            "next_cursor": page.next_cursor,
            "previous_cursor": page.previous_cursor,
        }
        return to_json(whole)
    return json_lines([event_as_json(stored) for stored in page.events])


def json_lines(values: Sequence[dict[str, Any]]) -> bytes:
    """Return one line of JSON for each."""
    return b"".join(to_json(value) + b"\n" for value in values)

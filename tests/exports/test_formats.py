"""The three formats hold the same events, and exactly what the API shows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditlog_exports import run
from auditlog_storage.event_csv import CSV_COLUMNS, csv_header, csv_rows
from auditlog_storage.event_json import event_json
from auditlog_storage.formula import FORMULA
from auditlog_storage.reader import LogReader
from auditlog_storage.stored_event import StoredEvent
from exports.lab import Lab, content, parts

pytestmark = pytest.mark.integration

EVENTS = 230


@pytest.fixture
def filled(lab: Lab) -> Lab:
    lab.add(lab.events(EVENTS))
    return lab


def read(lab: Lab) -> list[StoredEvent]:
    """All events, oldest first, as pages show them."""
    return list(LogReader(lab.log.connection).timeline(lab.account, limit=1_000).events)[::-1]


def lines_of(lab: Lab, compression: str = "none") -> list[dict[str, Any]]:
    files = parts(lab.exported(format="jsonl", compression=compression))
    assert len(files) == 3
    assert all(content(file).endswith(b"\n") for file in files)
    return [json.loads(line) for file in files for line in content(file).decode().split("\n") if line]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_json_line_is_the_event_of_the_api(filled: Lab, compression: str) -> None:
    exported = lines_of(filled, compression)
    expected = [event_json(stored) for stored in read(filled)]
    assert exported == expected
    # To the order of the members.
    assert [list(line) for line in exported] == [list(event) for event in expected]


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_csv_holds_the_cells_of_the_api(filled: Lab, compression: str) -> None:
    files = parts(filled.exported(format="csv", compression=compression))
    texts = [content(file).decode() for file in files]
    assert all(text.startswith(csv_header()) for text in texts)
    rows = [row for text in texts for row in _rows(text)[1:]]
    assert list(map(_parsed, rows)) == list(map(_parsed, _rows(csv_rows(read(filled)))))
    assert len(rows) == EVENTS


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def _parsed(row: list[str]) -> list[Any]:
    """A row with its JSON cells as what they mean: some characters may be written in two ways."""
    nested = [CSV_COLUMNS.index(name) for name in ("related", "changes", "metadata")]
    return [json.loads(cell) if cell and index in nested else cell for index, cell in enumerate(row)]


def test_no_cell_is_a_formula_unless_asked_for(filled: Lab) -> None:
    def formulas(**more: Any) -> set[str]:
        files = parts(filled.exported(format="csv", **more))
        cells = [
            cell
            for file in files
            for row in list(csv.reader(io.StringIO(content(file).decode(), newline="")))[1:]
            for cell in row
        ]
        return {cell for cell in cells if FORMULA.match(cell) and not cell.startswith("'")}

    assert not formulas()
    assert {each[:1] for each in formulas(raw_csv=True)} >= set("=+-@\t\n＝ \ufeff")


def test_parquet_has_types_and_the_same_events(filled: Lab) -> None:
    files = parts(filled.exported(format="parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert list(rows[0]) == list(CSV_COLUMNS)
    assert [_event_of(row) for row in rows] == [event_json(stored) for stored in read(filled)]


def _event_of(row: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a Parquet row, by hand."""

    def present(**members: Any) -> dict[str, Any]:
        return {name: value for name, value in members.items() if value is not None}

    def time(value: datetime) -> str:
        text = value.replace(tzinfo=None).isoformat()
        return (text.rstrip("0") if "." in text else text) + "Z"

    whole = {
        **{name: row[name] for name in ("event_id", "account_id")},
        "occurred_at": time(row["occurred_at"]),
        **{name: row[name] for name in ("action", "action_version")},
        "entity": present(type=row["entity_type"], id=row["entity_id"], name=row["entity_name"]),
        "related": [present(**each) for each in row["related"]],
        "source": {
            "service": row["service"],
            "instance_id": row["service_instance"],
            "sequence": row["service_sequence"],
        },
        "actor": present(
            **{name: row[f"actor_{name}"] for name in ("type", "id", "name", "email", "impersonator_id")}
        ),
        "context": present(**{name: row[name] for name in ("ip", "user_agent", "request_id")}),
        "changes": [present(**each) for each in row["changes"]],
        "metadata": dict(row["metadata"]),
        "received_at": time(row["received_at"]),
        "kafka": {
            "topic_id": row["topic_id"],
            "partition": row["kafka_partition"],
            "offset": row["kafka_offset"],
        },
    }
    return {name: value for name, value in whole.items() if value not in ([], {})}


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_the_largest_events_come_a_few_at_a_time(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """What is in memory at a time does not grow with the events: with 200 KB each, 8,192 would be 1.6 GB."""
    lab.settings = lab.settings.model_copy(update={"block_rows_max": 8_192, "part_rows_max": 1_000})
    lab.jobs.settings = lab.settings
    changes = [{"field": f"note {n}", "before": None, "after": json.dumps(f"{n}" * 30_000)} for n in range(7)]
    lab.add(lab.events(400, changes=changes))
    sizes: list[int] = []

    @contextmanager
    def watched(batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
        def seen() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                sizes.append(batch.nbytes)
                yield batch

        yield seen()

    monkeypatch.setattr(run, "reading_ahead", watched)
    lab.exported(format=format)
    assert sum(sizes) > 400 * 7 * 30_000
    assert max(sizes) < 32_000_000

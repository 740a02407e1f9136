"""Every query of docs/querying.md runs as the read-only user and finds its events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from auditlog_schemas.catalog import Catalog
from auditlog_storage.connection import Connection
from auditlog_storage.view import CREATE_AUDIT_LOG_V1
from storage.event_log import Log
from storage.user_login import user_connection

DOCUMENT = (Path(__file__).parents[2] / "docs" / "querying.md").read_text("utf-8")
QUERIES: dict[str, str] = {
    str(number): query
    for number, query in enumerate(re.findall(r"```sql\n(.*?)```", DOCUMENT, re.S), start=1)
}

VALUES = {
    "account": "acc_1",
    "license": "lic_1",
    "field": "seats",
    "request": "req_1",
    "since": datetime(2026, 3, 1),
    "until": datetime(2026, 3, 2),
}


def test_the_document_has_at_least_five_queries() -> None:
    assert len(QUERIES) >= 5


def test_the_document_names_every_column_of_the_view() -> None:
    body = CREATE_AUDIT_LOG_V1.split("SELECT")[1].split("FROM")[0]
    names = [column.split()[-1] for column in body.strip().split(",\n")]
    assert len(names) == 31
    assert [name for name in names if f"`{name}`" not in DOCUMENT] == []


@pytest.fixture(scope="module")
def analyst(shared_log: Log, catalog: Catalog) -> Iterator[Connection]:
    _store_a_morning(shared_log)
    with user_connection(shared_log.connection, catalog) as connection:
        yield connection


def _store_a_morning(log: Log) -> None:
    def event(minute: int, **fields: Any) -> None:
        source = {"service": "billing", "instance_id": "billing-1", "sequence": minute}
        log.store(log.event(occurred_at=1_772_323_200_000_000 + minute * 60_000_000, source=source, **fields))

    ada = {"type": "platform_user", "id": "usr_1", "name": "Ada", "email": None, "impersonator_id": None}
    event(1)
    event(2, actor=ada | {"impersonator_id": "usr_9"})
    event(3, action="license_deleted", changes=[], actor=ada)
    event(
        4,
        action="order_deleted",
        changes=[],
        account_id="acc_2",
        entity={"type": "order", "id": "o", "name": None},
    )
    event(
        9,
        action="device_reset",
        entity={"type": "device", "id": "dev_1", "name": None},
        related=[{"type": "license", "id": "lic_1", "name": "Pro seat"}],
        changes=[
            {"field": "seats", "before": '"1"', "after": None},
            {"field": "x", "before": None, "after": "1"},
        ],
        context={"ip": None, "user_agent": None, "request_id": "req_2"},
    )


def _ask(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    used = {name: value for name, value in VALUES.items() if f"{{{name}:" in query}
    assert set(re.findall(r"\{(\w+):", query)) == used.keys()
    return connection.query_rows(query, used)


EXPECTED: dict[str, object] = {
    "1": [
        ("Licenses", "license_updated", 2, 1),
        ("Devices", "device_reset", 1, 1),
        ("Licenses", "license_deleted", 1, 1),
    ],
    "2": ["device_reset", "license_deleted", "license_updated", "license_updated"],
    "3": [('"1"', None), (None, "5"), (None, "5")],
    "4": [("deleted", 1), ("reset", 1), ("updated", 2)],
    "5": [("acc_2", "usr_1", 1), ("acc_1", "usr_1", 1)],
    "6": [("usr_9", "usr_1", "license_updated")],
    "7": [1, 2, 3],
    "8": [("billing", "billing-1", 4)],
}
CHOSEN: dict[str, Any] = {
    "1": lambda row: row,
    "2": lambda row: row[1],
    "3": lambda row: row[4:],
    "4": lambda row: row[1:],
    "5": lambda row: (row[0], row[2], row[4]),
    "6": lambda row: (row[2], row[3], row[4]),
    "7": lambda row: row[2],
    "8": lambda row: row,
}


@pytest.mark.integration
@pytest.mark.parametrize("number", list(QUERIES))
def test_a_query_of_the_document_finds_its_events(analyst: Connection, number: str) -> None:
    rows = _ask(analyst, QUERIES[number])
    assert [CHOSEN[number](row) for row in rows] == EXPECTED[number]

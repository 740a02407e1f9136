"""What the tests of exports share: one database for each module, a store for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from auditlog_schemas.catalog_file import load_catalog
from auditlog_storage.connection import Connection
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import StorageSettings
from exports.lab import Lab
from storage.event_log import Log


@pytest.fixture(scope="module")
def log(clickhouse_url: str) -> Iterator[Log]:
    """A database of the module's own; its tests use accounts of their own."""
    url = urlunsplit(urlsplit(clickhouse_url)._replace(path=f"/exports_{uuid4().hex}"))
    catalog = load_catalog()
    with Connection(StorageSettings.load(url=url)) as connection:
        migrate(connection, catalog)
        yield Log(connection, catalog)
        connection.command(f"DROP DATABASE {connection.database}", in_database=False)


@pytest.fixture
def lab(log: Log, tmp_path: Path) -> Lab:
    return Lab(log, tmp_path)

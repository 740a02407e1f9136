"""What the storage tests share: connections, and migrated databases."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from auditlog_schemas.catalog import Catalog
from auditlog_schemas.catalog_file import load_catalog
from auditlog_storage.connection import Connection
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import StorageSettings
from storage.event_log import Log

SEND_SECONDS_MAX = 60
"""As long may one piece of a request take, too: a busy engine lets a large insert wait."""


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture
def unmade(clickhouse_url: str) -> Iterator[Connection]:
    """A connection to a database that does not exist yet."""
    url = urlunsplit(urlsplit(clickhouse_url)._replace(path=f"/unmade_{uuid4().hex}"))
    with Connection(StorageSettings.load(url=url)) as connection:
        yield connection
        connection.command(f"DROP DATABASE IF EXISTS {connection.database}", in_database=False)


@pytest.fixture
def connection(fresh_database: str) -> Iterator[Connection]:
    settings = StorageSettings.load(url=fresh_database, connect_timeout_seconds=SEND_SECONDS_MAX)
    with Connection(settings) as connection:
        yield connection


@pytest.fixture
def log(connection: Connection, catalog: Catalog) -> Log:
    migrate(connection, catalog)
    return Log(connection, catalog)


@pytest.fixture(scope="module")
def shared_log(clickhouse_url: str, catalog: Catalog) -> Iterator[Log]:
    """One database for a whole module: its tests use accounts of their own."""
    url = urlunsplit(urlsplit(clickhouse_url)._replace(path=f"/shared_{uuid4().hex}"))
    settings = StorageSettings.load(url=url, connect_timeout_seconds=SEND_SECONDS_MAX)
    with Connection(settings) as connection:
        migrate(connection, catalog)
        yield Log(connection, catalog)
        connection.command(f"DROP DATABASE {connection.database}", in_database=False)

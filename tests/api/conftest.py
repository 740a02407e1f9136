"""A served API over a database with some events, once for each module of tests."""

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
from kit.served_api import ServedApi, serving
from storage.event_log import Log


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def log(clickhouse_url: str, catalog: Catalog) -> Iterator[Log]:
    """A database of the module's own; its tests use accounts of their own."""
    url = urlunsplit(urlsplit(clickhouse_url)._replace(path=f"/api_{uuid4().hex}"))
    with Connection(StorageSettings.load(url=url)) as connection:
        migrate(connection, catalog)
        yield Log(connection, catalog)
        connection.command(f"DROP DATABASE {connection.database}", in_database=False)


@pytest.fixture(scope="module")
def database_url(log: Log) -> str:
    return log.connection.settings.url.get_secret_value()


@pytest.fixture(scope="module")
def api(database_url: str, catalog: Catalog) -> Iterator[ServedApi]:
    with serving(database_url, catalog) as served:
        yield served

"""Connecting as the read-only user."""

from __future__ import annotations

from urllib.parse import quote, urlsplit, urlunsplit

from auditlog_schemas.catalog import Catalog
from auditlog_storage.analyst import ANALYST
from auditlog_storage.connection import Connection
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import StorageSettings

# One for all tests: the user belongs to the server, not to a test's database.
PASSWORD = "it's an analyst's \\ password"


def analyst_connection(connection: Connection, catalog: Catalog, password: str = PASSWORD) -> Connection:
    """Migrate the connection's database with a password for analysts, and return an analyst's connection."""
    url = connection.settings.url.get_secret_value()
    with Connection(StorageSettings.load(url=url, analyst_password=PASSWORD)) as migrating:
        outcome = migrate(migrating, catalog).analyst
    assert outcome.status == "ready", outcome.detail
    parts = urlsplit(url)
    netloc = f"{ANALYST}:{quote(password, safe='')}@{parts.hostname}:{parts.port}"
    return Connection(StorageSettings.load(url=urlunsplit(parts._replace(netloc=netloc))))

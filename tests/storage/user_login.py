"""Connecting as one of the users that migrating makes."""

from __future__ import annotations

from urllib.parse import quote, urlsplit, urlunsplit

from auditlog_schemas.catalog import Catalog
from auditlog_storage.connection import Connection
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import USER_PASSWORDS, StorageSettings
from auditlog_storage.users import ANALYST

# One for all tests: the user belongs to the server, not to a test's database.
PASSWORD = "it's an analyst's \\ password"


def user_connection(
    connection: Connection, catalog: Catalog, user: str = ANALYST, password: str = PASSWORD
) -> Connection:
    """Migrate the connection's database with a password for a user, and return a connection of that user."""
    url = connection.settings.url.get_secret_value()
    with Connection(StorageSettings.load(url=url, **{USER_PASSWORDS[user]: PASSWORD})) as migrating:
        [outcome] = migrate(migrating, catalog).users
    assert (outcome.name, outcome.trouble) == (user, "")
    parts = urlsplit(url)
    netloc = f"{user}:{quote(password, safe='')}@{parts.hostname}:{parts.port}"
    return Connection(StorageSettings.load(url=urlunsplit(parts._replace(netloc=netloc))))

"""Making and upgrading the database, by any number of processes at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa

from auditlog_schemas.catalog import Catalog
from auditlog_schemas.errors import ConfigError, TerminalError
from auditlog_storage.actions import publish_actions
from auditlog_storage.connection import Connection
from auditlog_storage.keys import Keys
from auditlog_storage.table import assignments, quoted
from auditlog_storage.tables import (
    AUDIT_ACTIONS,
    AUDIT_CLAIMS,
    AUDIT_EVENTS,
    AUDIT_KEYS,
    AUDIT_MIGRATIONS,
    AUDIT_RANGES,
    AUDIT_REMOVALS,
    AUDIT_TOKEN_USES,
    AUDIT_TOKENS,
    DAY_COUNTS,
    PAGE_SETTINGS,
    READER_INDEXES,
    VALUE_COUNTS,
)
from auditlog_storage.users import UserOutcome, ensure_users
from auditlog_storage.view import CREATE_AUDIT_LOG_V1


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. Every statement may run twice, also at the same time from two processes.

    A table's definition in `tables` is always the newest one. A later step brings older databases there
    with ALTER TABLE ... IF NOT EXISTS, which changes nothing in a database made by today's definition.
    """

    version: int
    name: str
    statements: tuple[str, ...]


def _add(extra: str) -> str:
    kind, definition = extra.split(" ", 1)
    return f"ALTER TABLE audit_events ADD {kind} IF NOT EXISTS {definition}"


def _materialize(*projections: str) -> str:
    # One statement goes through the log once, for all of them.
    each = (f"MATERIALIZE PROJECTION {projection.split()[1]}" for projection in projections)
    return f"ALTER TABLE audit_events {', '.join(each)}"


MIGRATIONS: Final = (
    Migration(
        1,
        "events, ledger, actions and the view for analysts",
        (AUDIT_EVENTS.create(), AUDIT_RANGES.create(), AUDIT_ACTIONS.create(), CREATE_AUDIT_LOG_V1),
    ),
    Migration(2, "the record of removed rows", (AUDIT_REMOVALS.create(),)),
    Migration(3, "tokens of the API", (AUDIT_TOKENS.create(), AUDIT_TOKEN_USES.create())),
    # Parts that are there already get the indexes when they are merged, or by MATERIALIZE INDEX.
    Migration(4, "indexes by actor, request and word", tuple(_add(index) for index in READER_INDEXES)),
    # Parts with and without it are not merged with each other. Those that are there get it in the background.
    Migration(5, "counts by day", (_add(DAY_COUNTS), _materialize(DAY_COUNTS))),
    Migration(
        6,
        "counts by actor and address, and fewer files",
        (
            *map(_add, VALUE_COUNTS),
            _materialize(*VALUE_COUNTS),
            f"ALTER TABLE audit_events MODIFY SETTING {assignments(PAGE_SETTINGS)}",
        ),
    ),
    Migration(7, "keys of what is handed out and taken back", (AUDIT_KEYS.create(),)),
    Migration(8, "claims of consumer groups", (AUDIT_CLAIMS.create(),)),
)

_APPLIED: Final = "SELECT version, name, applied_at FROM audit_migrations FINAL ORDER BY version"


@dataclass(frozen=True, slots=True)
class Applied:
    """A step that the database has."""

    version: int
    name: str
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What `migrate` did.

    Attributes:
        applied: the steps that this call ran, oldest first; empty when the database was up to date.
        version: the database's version now.
        keys_made: names of the keys in `audit_keys` that were missing.
        actions_changed: whether `audit_actions` had to be brought in line with the catalog.
        users: what became of the users whose passwords are configured.
    """

    applied: tuple[Applied, ...]
    version: int
    keys_made: tuple[str, ...]
    actions_changed: bool
    users: tuple[UserOutcome, ...]


def migrate(connection: Connection, catalog: Catalog) -> MigrationReport:
    """Make the database if it is missing, run the steps it lacks, make missing keys, publish the actions.

    Running it again changes nothing; after a crash, running it again completes it.

    Raises:
        TerminalError: the database was made by a newer version of this software.
        StorageUnavailable, ConfigError, StorageRejected: as in `Connection`.
    """
    _ensure_database(connection)
    connection.command(AUDIT_MIGRATIONS.create())
    known = {step.version for step in applied_migrations(connection)}
    newest = MIGRATIONS[-1].version
    if max(known, default=0) > newest:
        raise TerminalError(
            f"the database {connection.database} has version {max(known)}, this software knows up to "
            f"{newest}: install the version of auditlog that made it, or a newer one"
        )
    applied = tuple(_apply(connection, step) for step in MIGRATIONS if step.version not in known)
    return MigrationReport(
        applied,
        newest,
        Keys(connection).make_missing(),
        publish_actions(connection, catalog),
        ensure_users(connection),
    )


def applied_migrations(connection: Connection) -> list[Applied]:
    """Return the steps that the database has, oldest first."""
    return [Applied(*row) for row in connection.query_rows(_APPLIED)]


def _apply(connection: Connection, step: Migration) -> Applied:
    for statement in step.statements:
        connection.command(statement)
    applied = Applied(step.version, step.name, datetime.now(UTC))
    row = {"version": applied.version, "name": applied.name, "applied_at": applied.applied_at}
    batch = pa.RecordBatch.from_pylist([row], schema=AUDIT_MIGRATIONS.rows)
    connection.insert_batch(AUDIT_MIGRATIONS.name, batch, token=None)
    return applied


def _ensure_database(connection: Connection) -> None:
    try:
        connection.command(f"CREATE DATABASE IF NOT EXISTS {quoted(connection.database)}", in_database=False)
    except ConfigError as refused:
        # A user without the right to make databases is fine where an operator made this one.
        try:
            connection.command("SELECT 1")
        except ConfigError:
            raise refused from None

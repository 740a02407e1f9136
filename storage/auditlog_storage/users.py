"""The ClickHouse users of an installation: what each may do with each table, and how they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from auditlog_schemas.errors import ConfigError, StorageRejected
from auditlog_storage.connection import Connection
from auditlog_storage.settings import USER_PASSWORDS
from auditlog_storage.table import literal, quoted

MIGRATE: Final = "auditlog_migrate"
CONSUMER: Final = "auditlog_consumer"
API: Final = "auditlog_api"
EXPORTS: Final = "auditlog_exports"
ANALYST: Final = "auditlog_analyst"

RIGHTS: Final[Mapping[str, Mapping[str, str]]] = {
    # A view checks the rights of who asks: whoever reads audit_log_v1 also needs its table.
    "audit_events": {
        CONSUMER: "SELECT, INSERT",
        API: "SELECT",
        EXPORTS: "SELECT",
        ANALYST: "SELECT",
    },
    "audit_log_v1": {ANALYST: "SELECT"},
    "audit_actions": {API: "SELECT", EXPORTS: "SELECT", ANALYST: "SELECT"},
    "audit_ranges": {CONSUMER: "SELECT, INSERT", API: "SELECT", EXPORTS: "SELECT"},
    "audit_claims": {CONSUMER: "SELECT, INSERT"},
    "audit_keys": {CONSUMER: "SELECT", API: "SELECT"},
    "audit_tokens": {API: "SELECT, INSERT"},
    "audit_token_uses": {API: "SELECT, INSERT"},
    # `auditlog doctor` says whether the tables are those that the consumer knows.
    "audit_migrations": {CONSUMER: "SELECT"},
    # Belongs to `auditlog repair`, which the migration's user runs.
    "audit_removals": {},
}
"""What each user may do with each table and view; a name that is not there may do nothing."""

LOOKED_AT: Final = (
    "disks",
    "parts",
    "merge_tree_settings",
    "replicas",
    "mutations",
    "processes",
    "query_log",
    "errors",
)
"""Tables of `system` that `auditlog doctor` reads, which checks the consumer's health in a container."""

LIMITS: Final[dict[str, int]] = {
    # 2: reads only, but tools may still set formats and the like.
    "readonly": 2,
    "max_execution_time": 120,
    "max_result_rows": 1_000_000,
    "max_threads": 2,
    "max_bytes_before_external_group_by": 1024**3,
    "max_bytes_before_external_sort": 1024**3,
    # All queries of the user together, on each server.
    "max_concurrent_queries_for_user": 4,
    "max_memory_usage_for_user": 2 * 1024**3,
    "max_temporary_data_on_disk_size_for_user": 20 * 1024**3,
}
"""Settings of the analyst; none of them can be changed by the user."""


@dataclass(frozen=True, slots=True)
class UserOutcome:
    """What became of one user: `trouble` says why ClickHouse would not make it; empty when it is ready."""

    name: str
    trouble: str = ""


def grants(user: str, database: str) -> list[str]:
    """Return what a user is granted: GRANT statements without TO, as users.xml takes them too."""
    if user == MIGRATE:
        return _of_the_migration(database)
    found = [
        f"GRANT {rights[user]} ON {quoted(database)}.{quoted(table)}"
        for table, rights in RIGHTS.items()
        if user in rights
    ]
    if user == CONSUMER:
        found += [f"GRANT SELECT ON system.{table}" for table in LOOKED_AT]
    return found


def limits(user: str) -> dict[str, int]:
    """Return the settings that a user cannot change."""
    return LIMITS if user == ANALYST else {}


def ensure_users(connection: Connection) -> tuple[UserOutcome, ...]:
    """Make the users whose passwords are configured, or bring their passwords, limits and rights up to date.

    A refusal is an outcome and not an error: the log works with one user for everything.

    Raises:
        StorageUnavailable: as in `Connection`.
    """
    return tuple(
        _ensure(connection, name, password.get_secret_value())
        for name, setting in USER_PASSWORDS.items()
        if (password := getattr(connection.settings, setting)) is not None
    )


def user_statements(user: str, database: str, password: str) -> list[str]:
    """Return the statements that make a user; ClickHouse stores a salted hash and hides it in its logs."""
    identified = f"IDENTIFIED WITH sha256_password BY {literal(password)}"
    if settings := ", ".join(f"{name} = {value} CONST" for name, value in limits(user).items()):
        identified += f" SETTINGS {settings}"
    return [
        f"CREATE USER IF NOT EXISTS {user} {identified}",
        f"ALTER USER {user} {identified}",
        *(f"{grant} TO {user}" for grant in grants(user, database)),
    ]


def _of_the_migration(database: str) -> list[str]:
    ours = f"{quoted(database)}.*"
    return [
        "GRANT TABLE ENGINE ON MergeTree, TABLE ENGINE ON ReplacingMergeTree",
        f"GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, ALTER TABLE ON {ours}",
        # What it passes on to the others.
        f"GRANT SELECT, INSERT ON {ours} WITH GRANT OPTION",
        *(f"GRANT SELECT ON system.{table} WITH GRANT OPTION" for table in LOOKED_AT),
        "GRANT CREATE USER, ALTER USER ON auditlog_*",
    ]


def _ensure(connection: Connection, user: str, secret: str) -> UserOutcome:
    try:
        for statement in user_statements(user, connection.database, secret):
            connection.command(statement)
    except (ConfigError, StorageRejected) as error:
        reason = str(error).replace(secret, "[hidden]")
        return UserOutcome(user, f"ClickHouse would not make the user {user}; the rest is in place: {reason}")
    return UserOutcome(user)

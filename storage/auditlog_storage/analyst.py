"""The read-only ClickHouse user for analysts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from auditlog_schemas.errors import ConfigError, StorageRejected
from auditlog_storage.connection import Connection
from auditlog_storage.settings import ANALYST_PASSWORD
from auditlog_storage.table import literal, quoted

ANALYST: Final = "auditlog_analyst"

READABLE: Final = ("audit_log_v1", "audit_actions", "audit_events")
"""What the user may SELECT from; a view checks the rights of who asks, so its table is among them."""

LIMITS: Final[dict[str, int]] = {
    # 2: reads only, but tools may still set formats and the like.
    "readonly": 2,
    "max_execution_time": 120,
    "max_memory_usage": 4 * 1024**3,
    "max_bytes_before_external_group_by": 2 * 1024**3,
    "max_bytes_before_external_sort": 2 * 1024**3,
    "max_result_rows": 1_000_000,
    "max_threads": 4,
    "max_concurrent_queries_for_user": 8,
}
"""Settings of the user; none of them can be changed by the user."""


@dataclass(frozen=True, slots=True)
class AnalystOutcome:
    """What became of the user.

    Attributes:
        status: ``ready``; ``no_password`` when none is configured, so that there is no user; ``refused``
            when ClickHouse would not make the user.
        detail: what to do about it, in one sentence.
    """

    status: Literal["ready", "no_password", "refused"]
    detail: str


def ensure_analyst(connection: Connection) -> AnalystOutcome:
    """Make the user, or bring its password, limits and rights up to date.

    A refusal is an outcome and not an error: the log works without this user.

    Raises:
        StorageUnavailable: as in `Connection`.
    """
    password = connection.settings.analyst_password
    if password is None:
        detail = f"no user {ANALYST}: set {ANALYST_PASSWORD} and run `auditlog migrate` again"
        return AnalystOutcome("no_password", detail)
    secret = password.get_secret_value()
    try:
        for statement in analyst_statements(connection.database, secret):
            connection.command(statement)
    except (ConfigError, StorageRejected) as error:
        reason = str(error).replace(secret, "[hidden]")
        detail = f"ClickHouse would not make the user {ANALYST}; the rest is in place: {reason}"
        return AnalystOutcome("refused", detail)
    return AnalystOutcome("ready", f"{ANALYST} may read {', '.join(READABLE)} in {connection.database}")


def analyst_statements(database: str, password: str) -> list[str]:
    """Return the statements that make the user; ClickHouse stores a salted hash and hides it in its logs."""
    identified = f"IDENTIFIED WITH sha256_password BY {literal(password)}"
    limits = ", ".join(f"{name} = {value} CONST" for name, value in LIMITS.items())
    return [
        f"CREATE USER IF NOT EXISTS {ANALYST} {identified} SETTINGS {limits}",
        f"ALTER USER {ANALYST} {identified} SETTINGS {limits}",
        *(f"GRANT SELECT ON {quoted(database)}.{quoted(name)} TO {ANALYST}" for name in READABLE),
    ]

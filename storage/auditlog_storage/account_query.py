"""Queries on the events of one account: always pruned to it, read-only and limited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from auditlog_schemas.errors import QueryLimitReached, StorageRejected, StorageUnavailable
from auditlog_storage.connection import Connection, Settings
from auditlog_storage.filters import EventFilter, check_account
from auditlog_storage.ledger_ends import LedgerEnd, LedgerEnds
from auditlog_storage.table import quoted
from auditlog_storage.tables import FIRST, bucket_of

# Its bucket finds an account's partitions, its id the granules in them.
_OF_ACCOUNT: Final = (
    f"account_bucket = {bucket_of('{account_id:String}')}",
    "account_id = {account_id:String}",
)

_NOTHING: Final[Mapping[str, object]] = {}
_NO_SETTINGS: Final[Settings] = {}

_MEMORY: Final = 241
_RESULT: Final = 396
# The same code tells that the whole server is out of memory, which is nobody's question.
_OF_QUERY: Final = "Query memory limit exceeded"
_LIMITS: Final = {
    158: ("read_rows_max", "rows"),
    159: ("read_seconds_max", "seconds"),
    160: ("read_seconds_max", "seconds"),  # TOO_SLOW: the server expects it to take longer
    _RESULT: ("read_result_bytes_max", "bytes of its answer"),
    307: ("read_bytes_max", "bytes"),
    _MEMORY: ("read_memory_bytes_max", "bytes of memory"),
}
"""ClickHouse's errors for a query that reaches a limit: code -> (setting, its unit)."""


class AccountQuery:
    """Asks ClickHouse about one account at a time; safe to share between threads.

    Queries change nothing (`readonly`), whatever the connection's user may do. Raises BadFilter for a wrong
    account id, QueryLimitReached for a query beyond one of the `read_…_max` of the settings, and what
    `Connection` raises.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        limits = connection.settings
        self._settings: dict[str, int | str] = {
            **FIRST,
            "readonly": 1,
            "optimize_read_in_order": 1,
            # A pool of threads that read files pays where those are not in memory, and costs where they are.
            "local_filesystem_read_method": "pread",
            "load_marks_asynchronously": 0,
            "max_execution_time": limits.read_seconds_max,
            "max_rows_to_read": limits.read_rows_max,
            "max_bytes_to_read": limits.read_bytes_max,
            "max_memory_usage": limits.read_memory_bytes_max,
            "max_result_bytes": limits.read_result_bytes_max,
        }
        self._ends = LedgerEnds(self.read)

    def read(
        self, sql: str, values: Mapping[str, object], settings: Settings = _NO_SETTINGS
    ) -> list[tuple[Any, ...]]:
        """Run a SELECT within the limits and return its rows, as `Connection.query_rows` does."""
        try:
            return self._connection.query_rows(sql, values, {**self._settings, **settings})
        except (StorageUnavailable, StorageRejected) as error:
            if error.code in _LIMITS and not (error.code == _MEMORY and _OF_QUERY not in str(error)):
                raise QueryLimitReached(self._too_much(error.code)) from error
            raise

    def ledger_ends(self) -> list[LedgerEnd]:
        """Return where the ledger ends, for all accounts."""
        return self._ends.read()

    def catalog(self, column: str) -> list[tuple[str, str]]:
        """Return every action with one of the columns of `audit_actions`."""
        sql = f"SELECT action, {quoted(column)} FROM audit_actions"  # noqa: S608 - names of ours
        return [(action, value) for action, value in self.read(sql, {})]

    def rows(
        self,
        account_id: str,
        filter: EventFilter,
        columns: str,
        order: str = "",
        conditions: Sequence[str] = (),
        values: Mapping[str, object] = _NOTHING,
        settings: Settings = _NO_SETTINGS,
    ) -> list[tuple[Any, ...]]:
        """Return the rows of `audit_events` that match.

        Args:
            account_id: whose.
            filter: which events.
            columns: what to SELECT.
            order: everything behind WHERE.
            conditions: further ones, with their parameters in `values`.
            values: values of the parameters in `columns`, `order` and `conditions`.
            settings: of ClickHouse, for this query.
        """
        sql, parameters = account_statement(account_id, filter, columns, order, conditions, values)
        return self.read(sql, parameters, settings)

    def _too_much(self, code: int) -> str:
        setting, unit = _LIMITS[code]
        allowed = getattr(self._connection.settings, setting)
        fewer = "fewer events at a time (limit)" if code == _RESULT else "a shorter time"
        return (
            f"the question needs more than the {allowed:,} {unit} that one may take ({setting}): ask for "
            f"{fewer}, or for an action, an actor or an item"
        )


def account_statement(
    account_id: str,
    filter: EventFilter,
    columns: str,
    order: str = "",
    conditions: Sequence[str] = (),
    values: Mapping[str, object] = _NOTHING,
) -> tuple[str, dict[str, object]]:
    """Return the SELECT of `AccountQuery.rows`, whose arguments these are, and the values of its parameters.

    Raises:
        BadFilter: this can be no account's id.
    """
    check_account(account_id)
    wanted, parameters = filter.conditions()
    where = "\n  AND ".join([*_OF_ACCOUNT, *wanted, *conditions])
    sql = "\n".join(("SELECT", columns, "FROM audit_events", "WHERE", where, order))
    return sql, {**parameters, "account_id": account_id, **values}

"""Queries on the events of one account: always pruned to it, read-only and limited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from auditlog_storage.connection import Connection
from auditlog_storage.filters import EventFilter, check_account
from auditlog_storage.ledger_ends import LedgerEnd, LedgerEnds
from auditlog_storage.table import quoted
from auditlog_storage.tables import bucket_of

# Its bucket finds an account's partitions, its id the granules in them.
_OF_ACCOUNT: Final = (
    f"account_bucket = {bucket_of('{account_id:String}')}",
    "account_id = {account_id:String}",
)

_NOTHING: Final[Mapping[str, object]] = {}


class AccountQuery:
    """Asks ClickHouse about one account at a time; safe to share between threads.

    Raises BadFilter for a wrong account id, and what `Connection` raises: StorageUnavailable also when a
    query takes longer than `read_seconds_max`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ends = LedgerEnds(connection)
        self._settings: dict[str, int | str] = {
            "optimize_read_in_order": 1,
            "max_execution_time": connection.settings.read_seconds_max,
        }

    def ledger_ends(self) -> list[LedgerEnd]:
        """Return where the ledger ends, for all accounts."""
        return self._ends.read()

    def catalog(self, column: str) -> list[tuple[str, str]]:
        """Return every action with one of the columns of `audit_actions`."""
        sql = f"SELECT action, {quoted(column)} FROM audit_actions"  # noqa: S608 - names of ours
        return [(action, value) for action, value in self._connection.query_rows(sql, {}, self._settings)]

    def rows(
        self,
        account_id: str,
        filter: EventFilter,
        columns: str,
        order: str = "",
        conditions: Sequence[str] = (),
        values: Mapping[str, object] = _NOTHING,
    ) -> list[tuple[Any, ...]]:
        """Return the rows of `audit_events` that match.

        Args:
            account_id: whose.
            filter: which events.
            columns: what to SELECT.
            order: everything behind WHERE.
            conditions: further ones, with their parameters in `values`.
            values: values of the parameters in `columns`, `order` and `conditions`.
        """
        check_account(account_id)
        wanted, parameters = filter.conditions()
        where = "\n  AND ".join([*_OF_ACCOUNT, *wanted, *conditions])
        sql = "\n".join(("SELECT", columns, "FROM audit_events", "WHERE", where, order))
        every = {**parameters, "account_id": account_id, **values}
        return self._connection.query_rows(sql, every, self._settings)

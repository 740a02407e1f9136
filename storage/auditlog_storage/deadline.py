"""Inserts with a deadline that ClickHouse itself checks."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import pyarrow as pa

from auditlog_schemas.errors import StorageRejected, StorageUnavailable
from auditlog_schemas.record import micros_of
from auditlog_storage.connection import Connection
from auditlog_storage.table import Table, quoted

_THROWN: Final = 395
"""FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"""


class InsertTooLate(StorageUnavailable):
    """ClickHouse got the rows after their deadline; none of them is stored by this insert."""


def insert_until(
    connection: Connection, table: Table, batch: pa.RecordBatch, token: str | None, deadline: datetime | None
) -> None:
    """Insert one record batch, unless its rows arrive after the deadline.

    The deadline is looked at when the rows have arrived and before the first of them is written, so that an
    insert of a process that was stopped on the way does not come through long after.

    Args:
        connection: to which ClickHouse.
        table: its name and columns.
        batch: rows with some of the table's columns.
        token: as in `Connection.insert_batch`.
        deadline: by ClickHouse's own clock, in milliseconds; None for no deadline.

    Raises:
        InsertTooLate: the rows arrived after the deadline.
        StorageUnavailable, ConfigError, StorageRejected: as in `Connection`.
    """
    select = _select_until(table, batch.schema.names, deadline) if deadline is not None else ""
    try:
        connection.insert_batch(table.name, batch, token, select=select)
    except StorageRejected as error:
        if deadline is not None and error.code == _THROWN:
            late = f"an insert into {table.name} reached ClickHouse after {deadline} (token {token})"
            raise InsertTooLate(late) from error
        raise


def _select_until(table: Table, names: list[str], deadline: datetime) -> str:
    types = {column.name: column.type for column in table.columns}
    structure = ", ".join(f"{quoted(name)} {types[name]}" for name in names).replace("'", "\\'")
    columns = ", ".join(quoted(name) for name in names)
    # Not now64(): ClickHouse takes that once for a statement, which may be before the rows have arrived.
    late = f"nowInBlock64(3) > fromUnixTimestamp64Milli({micros_of(deadline) // 1000})"
    # A number and names of ours: input() takes no parameters.
    return f"SELECT {columns} FROM input('{structure}') WHERE throwIf({late}, 'too late') = 0"  # noqa: S608

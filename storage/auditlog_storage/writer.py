"""Writing events: one record batch, one synchronous INSERT."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from auditlog_storage.connection import Connection
from auditlog_storage.deadline import insert_until
from auditlog_storage.tables import AUDIT_EVENTS, BATCH_ROWS_MAX, EVENT_ROWS


class EventWriter:
    """Inserts batches into `audit_events`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert(self, batch: pa.RecordBatch, token: str, deadline: datetime | None = None) -> None:
        """Insert `batch` as one block under `token`.

        On return ClickHouse has said OK to exactly one INSERT of exactly one record batch, and has synced
        what it wrote to disk. That is not yet proof that the rows are stored: a known token makes it say OK
        and store nothing, also when an earlier attempt logged the token and died before its part existed.
        Only reading back (`auditlog_storage.stored`) proves a store. Nor does it mean that nothing was
        stored when this raises: the insert may still be under way. Retrying with the same token and the
        same rows never stores a row twice while the token is remembered (10,000 parts).

        A batch that touches several partitions (account bucket, entity type) makes one part in each. After
        a crash some may be there and others not.

        Args:
            batch: up to `BATCH_ROWS_MAX` rows of `EVENT_ROWS`, in its column order. A string column may
                also come dictionary-encoded, as string views or as large strings.
            token: 1 or more characters that name this block, for example ``topic_id/3/100-199/r0``.
            deadline: by ClickHouse's own clock (`engine_now`), in milliseconds: see `insert_until`.

        Raises:
            InsertTooLate: the rows arrived after the deadline.
            ValueError: the batch does not fit `EVENT_ROWS`, has too many rows, or the token is empty.
            StorageUnavailable, ConfigError, StorageRejected: as in `Connection`.
        """
        _check(batch, token)
        if not batch.num_rows:
            return
        insert_until(self._connection, AUDIT_EVENTS, batch, token, deadline)

    def engine_now(self) -> datetime:
        """Return what ClickHouse's clock shows, aware UTC, in milliseconds."""
        [(now,)] = self._connection.query_rows("SELECT now64(3, 'UTC')")
        assert isinstance(now, datetime)
        return now


def _check(batch: pa.RecordBatch, token: str) -> None:
    if not token:
        raise ValueError("an insert needs a token: without one a retry would store its rows twice")
    if batch.num_rows > BATCH_ROWS_MAX:
        raise ValueError(f"a batch has at most {BATCH_ROWS_MAX:,} rows, this one has {batch.num_rows:,}")
    if batch.schema.names != EVENT_ROWS.names:
        raise ValueError(f"a batch has the columns {EVENT_ROWS.names}, this one has {batch.schema.names}")
    for found, wanted in zip(batch.schema, EVENT_ROWS, strict=True):
        if found.type != wanted.type and not (wanted.type == pa.string() and _is_text(found.type)):
            raise ValueError(f"column {wanted.name} has the Arrow type {wanted.type}, not {found.type}")


def _is_text(type: pa.DataType) -> bool:
    if isinstance(type, pa.DictionaryType):
        return _is_text(type.value_type)
    return type in (pa.string(), pa.large_string(), pa.string_view())

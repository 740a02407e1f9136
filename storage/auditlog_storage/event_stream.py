"""All events of an account that match, oldest first, as a stream in constant memory, for exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from auditlog_schemas.event import datetime_of
from auditlog_storage.account_query import account_statement
from auditlog_storage.connection import Connection
from auditlog_storage.cursor import Position
from auditlog_storage.filters import EventFilter, moment
from auditlog_storage.ledger_ends import LedgerEnds, snapshot_of
from auditlog_storage.snapshot import Snapshot
from auditlog_storage.tables import YIELDING

# Each row has its place, its action and how much memory it stands for beside the columns asked for.
_KEYS: Final = "toUnixTimestamp64Micro(occurred_at) AS key_micros, event_id AS key_id, action AS key_action"
# Copies of one event have one time and one id; which of them comes first must not depend on merges.
_ORDER: Final = "ORDER BY occurred_at, event_id, topic_id, kafka_partition, kafka_offset"
_AFTER: Final = (
    f"occurred_at >= {moment('after_micros')}",
    f"(occurred_at, event_id) > ({moment('after_micros')}, {{after_id:UUID}})",
)

_SETTINGS: Final[dict[str, int | str]] = {
    **YIELDING,
    "optimize_read_in_order": 1,
    "optimize_aggregation_in_order": 1,
    # What a column is called in the result must not hide the column that a filter means.
    "prefer_column_name_to_alias": 1,
    # Lines are made in each thread that reads, and then merged; else one thread makes all of them.
    "query_plan_execute_functions_after_sorting": 0,
    "local_filesystem_read_method": "pread",
    # A stream may take hours.
    "max_execution_time": 0,
}


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is.

    Attributes:
        actions: how many events there are of each action.
        since, until: times of the oldest and the newest event; None when there is none.
    """

    actions: Mapping[str, int]
    since: datetime | None
    until: datetime | None

    @property
    def events(self) -> int:
        """Return how many events there are."""
        return sum(self.actions.values())


class EventStream:
    """Reads one account's events of a snapshot, each event once, also when a row is stored twice.

    Its methods raise BadFilter for a wrong account and what `Connection` raises.

    Args:
        connection: to ClickHouse; a stream takes one of its `connections_max` for as long as it lasts.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ends = LedgerEnds(connection.query_rows)

    def snapshot(self) -> Snapshot:
        """Return the snapshot of what the ledger has recorded by now."""
        return snapshot_of(self._ends.read())

    def has_reached(self, snapshot: Snapshot) -> bool:
        """Tell whether the ledger has reached a snapshot as this server knows it: replicas may be behind."""
        now = self.snapshot()
        return all(
            topic_id in now.closed or now.ends.get((topic_id, partition), 0) >= end
            for (topic_id, partition), end in snapshot.ends.items()
        )

    def extent(self, account_id: str, filter: EventFilter, snapshot: Snapshot) -> Extent:
        """Return how many events match, of each action."""
        within, values = snapshot.condition()
        columns = "occurred_at, any(action) AS known_action"
        each, parameters = account_statement(
            account_id, filter, columns, "GROUP BY account_id, occurred_at, event_id", [within], values
        )
        sql = "\n".join(
            (
                "SELECT known_action, count(), min(toUnixTimestamp64Micro(occurred_at)),",
                "max(toUnixTimestamp64Micro(occurred_at)) FROM (",
                each,
                ") GROUP BY known_action ORDER BY known_action",
            )
        )
        rows = self._connection.query_rows(sql, parameters, _SETTINGS)
        return Extent(
            {action: events for action, events, _, _ in rows},
            datetime_of(min(row[2] for row in rows)) if rows else None,
            datetime_of(max(row[3] for row in rows)) if rows else None,
        )

    @contextmanager
    def batches(
        self,
        account_id: str,
        filter: EventFilter,
        snapshot: Snapshot,
        columns: str,
        *,
        after: Position | None = None,
        block_rows_max: int,
        settings: Mapping[str, int | str],
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        """Yield the events as record batches, oldest first.

        Compare how many came with `extent`: a result that is cut short raises StorageUnavailable, but for one
        that ends between two batches.

        Args:
            account_id: whose.
            filter: which events.
            snapshot: which rows.
            columns: what to SELECT.
            after: only events after this one.
            block_rows_max: rows of a batch.
            settings: of ClickHouse, for the columns' functions.

        Yields:
            The columns, and ``key_micros`` (int64), ``key_id`` (16 bytes) and ``key_action`` (string).
        """
        within, values = snapshot.condition()
        conditions: list[str] = [within]
        if after is not None:
            conditions += _AFTER
            values |= {"after_micros": after.occurred_at_micros, "after_id": after.event_id}
        wanted = f"{columns}, {_KEYS}"
        sql, parameters = account_statement(account_id, filter, wanted, _ORDER, conditions, values)
        every = {**_SETTINGS, "max_block_size": block_rows_max, **settings}
        opened: AbstractContextManager[Iterator[pa.RecordBatch]]
        opened = self._connection.arrow_batches(sql, parameters, every)
        with opened as found:
            yield _each_once(found)


def _each_once(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the batches without rows that are copies of the row before them."""
    last: tuple[Any, bytes] | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        batch = _plain_key(batch)
        kept = _without_copies(batch, last)
        last = (batch.column("key_micros")[-1].as_py(), batch.column("key_id")[-1].as_py())
        if kept.num_rows:
            yield kept


def _plain_key(batch: pa.RecordBatch) -> pa.RecordBatch:
    index = batch.schema.get_field_index("key_id")
    column = batch.column(index)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    return batch.set_column(index, "key_id", column)


def _without_copies(batch: pa.RecordBatch, last: tuple[Any, bytes] | None) -> pa.RecordBatch:
    micros, ids = batch.column("key_micros"), batch.column("key_id")
    rows = batch.num_rows
    is_first_a_copy = last == (micros[0].as_py(), ids[0].as_py())
    same = pc.and_(
        pc.equal(micros.slice(1), micros.slice(0, rows - 1)), pc.equal(ids.slice(1), ids.slice(0, rows - 1))
    )
    if not is_first_a_copy and not pc.any(same).as_py():
        return batch
    copies = pa.concat_arrays([pa.array([is_first_a_copy], pa.bool_()), same])
    return batch.filter(pc.invert(copies))


def position_of(batch: pa.RecordBatch, row: int) -> Position:
    """Return the place of one row of `EventStream.batches`."""
    return Position(batch.column("key_micros")[row].as_py(), UUID(bytes=batch.column("key_id")[row].as_py()))

"""Removing rows that are stored more than once, with a record of each removed row.

What the engine does was tried on 26.9. A row is named by its part and its place in it, since nothing else
tells identical copies apart. A lightweight `DELETE` hides it from the table but leaves it in the projection
`by_offset` (ClickHouse issue 111791), so that a reader of the projection would find it again: these are
ordinary mutations. A mutation gives every part of the table a new name, so one statement has to remove all
copies of a step; a merge does so too, and then the statement matches nothing and another step is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from auditlog_schemas.errors import StorageUnavailable
from auditlog_storage.connection import Connection
from auditlog_storage.table import quoted
from auditlog_storage.tables import EVENT_ROWS

OFFSETS_PER_STEP: Final = 1_000_000
"""Offsets that one step looks at."""
ROWS_PER_STEP: Final = 200_000
"""Rows that one step removes."""
STALLED_STEPS_MAX: Final = 5
"""Steps in a row that remove nothing, because their parts were merged away meanwhile."""

_CONTENT: Final = f"sipHash128(formatRow('RowBinary', {', '.join(map(quoted, EVENT_ROWS.names))}))"

_SPAN: Final = """
    topic_id = {topic_id:UUID} AND kafka_partition = {partition:Int32}
    AND kafka_offset BETWEEN {first:Int64} AND {last:Int64}
"""

_COPIES: Final = f"""
    SELECT topic_id, kafka_partition, kafka_offset, account_id, event_id, _partition_id, _part, _part_offset,
           row_number() OVER (PARTITION BY kafka_offset ORDER BY _part, _part_offset) AS copy,
           uniqExact({_CONTENT}) OVER (PARTITION BY kafka_offset) AS contents
    FROM audit_events
    WHERE {_SPAN} AND kafka_offset IN (
        SELECT kafka_offset FROM audit_events WHERE {_SPAN} GROUP BY kafka_offset HAVING count() > 1
    )
"""  # noqa: S608 - made of constants

_COUNT: Final = f"""
    SELECT countIf(copy > 1 AND contents = 1), uniqExactIf(kafka_offset, contents > 1),
           minIf(kafka_offset, contents > 1)
    FROM ({_COPIES})
"""  # noqa: S608 - made of constants

_ANNOUNCE: Final = f"""
    INSERT INTO audit_removals
    SELECT {{removal_id:UUID}}, topic_id, kafka_partition, kafka_offset, account_id, event_id,
           _partition_id, _part, _part_offset, 'stored twice', {{removed_by:String}}, now64(3), 0
    FROM ({_COPIES})
    WHERE copy > 1 AND contents = 1
    ORDER BY kafka_offset
    LIMIT {ROWS_PER_STEP}
"""  # noqa: S608 - made of constants

_ANNOUNCED: Final = """
    SELECT count(), min(kafka_offset), max(kafka_offset) FROM audit_removals
    WHERE removal_id = {removal_id:UUID}
"""

# The place as one text: with conditions on _part_offset itself, or on a column of the projection, the engine
# prunes before it looks and may find no row of a part affected, first of all a part's row 0 (seen on 26.9).
_REMOVE: Final = """
    ALTER TABLE audit_events DELETE WHERE concat(_part, '/', toString(_part_offset)) IN (
        SELECT concat(part, '/', toString(part_offset)) FROM DATABASE.audit_removals
        WHERE removal_id = {removal_id:UUID}
    )
"""

_DONE: Final = """
    INSERT INTO audit_removals
    SELECT removal_id, topic_id, kafka_partition, kafka_offset, account_id, event_id,
           partition_id, part, part_offset, reason, removed_by, announced_at, 1
    FROM audit_removals WHERE removal_id = {removal_id:UUID} AND removed = 0
"""

_STATE: Final = f"SELECT count(), uniqExact(kafka_offset) FROM audit_events WHERE {_SPAN}"  # noqa: S608

_BY_TABLE: Final[dict[str, int | str]] = {"optimize_use_projections": 0}
_MUTATION: Final[dict[str, int | str]] = {"mutations_sync": 2}


@dataclass(frozen=True, slots=True)
class Copies:
    """Rows that are stored more than once in a range of offsets.

    Attributes:
        surplus: rows that are identical to another one with their offset, beyond the first.
        differing: offsets with rows that differ from each other: no copies, a contradiction.
        differing_first: the first of these.
    """

    surplus: int
    differing: int
    differing_first: int


class Removals:
    """Counts and removes surplus copies. Its methods raise what `Connection` raises."""

    def __init__(self, connection: Connection, removed_by: str) -> None:
        self._connection = connection
        self._removed_by = removed_by

    def copies(self, topic_id: UUID, kafka_partition: int, first_offset: int, last_offset: int) -> Copies:
        """Count what is stored more than once in a range, both ends included."""
        total, differing, differing_first = 0, 0, -1
        for where in _steps(topic_id, kafka_partition, first_offset, last_offset):
            [(surplus, others, lowest)] = self._connection.query_rows(_COUNT, where, _BY_TABLE)
            total += surplus
            if others and not differing:
                differing_first = lowest
            differing += others
        return Copies(total, differing, differing_first)

    def remove_copies(self, topic_id: UUID, kafka_partition: int, first_offset: int, last_offset: int) -> int:
        """Remove the rows that are identical to another one with their offset, keeping one of each.

        On return each such offset has one row, read back, and `audit_removals` holds every removed row with
        who removed it and when. When it raises, rows may have been removed; they are recorded then too, as
        announced (``removed = 0``). Calling it again goes on.

        Returns:
            How many rows were removed.

        Raises:
            StorageUnavailable: the engine goes on merging the parts away: try again later.
        """
        removed = stalled = 0
        for where in _steps(topic_id, kafka_partition, first_offset, last_offset):
            while (count := self._remove_some(where)) is not None:
                removed += count
                stalled = 0 if count else stalled + 1
                if stalled >= STALLED_STEPS_MAX:
                    raise StorageUnavailable(
                        f"rows stored twice among offsets {where['first']} to {where['last']} could not be "
                        "removed: their parts are merged again and again; try again later"
                    )
        return removed

    def apply_mask(self) -> None:
        """Remove for good, from the table's projections too, what a lightweight `DELETE` removed from it."""
        self._connection.command("ALTER TABLE audit_events APPLY DELETED MASK", settings=_MUTATION)

    def _remove_some(self, where: dict[str, object]) -> int | None:
        """Announce and remove some copies; return how many went, or None when there are none."""
        removal_id = uuid4()
        parameters = where | {"removal_id": removal_id, "removed_by": self._removed_by}
        self._connection.command(_ANNOUNCE, parameters, _BY_TABLE)
        [(announced, first, last)] = self._connection.query_rows(_ANNOUNCED, {"removal_id": removal_id})
        if not announced:
            return None
        span = where | {"first": first, "last": last}
        [(rows_before, offsets_before)] = self._connection.query_rows(_STATE, span, _BY_TABLE)
        # A mutation runs without a current database.
        statement = _REMOVE.replace("DATABASE", quoted(self._connection.database))
        self._connection.command(statement, {"removal_id": removal_id}, _MUTATION)
        [(rows, offsets)] = self._connection.query_rows(_STATE, span, _BY_TABLE)
        if offsets != offsets_before:
            raise StorageUnavailable(
                f"removing copies left {offsets} of {offsets_before} offsets between {first} and {last}; "
                "nothing more is removed: run `auditlog check`, then `auditlog repair` refills from Kafka"
            )
        if rows_before - rows == announced:
            self._connection.command(_DONE, {"removal_id": removal_id})
        return int(rows_before - rows)


def _steps(topic_id: UUID, partition: int, first: int, last: int) -> list[dict[str, object]]:
    return [
        {
            "topic_id": topic_id,
            "partition": partition,
            "first": start,
            "last": min(last, start + OFFSETS_PER_STEP - 1),
        }
        for start in range(first, last + 1, OFFSETS_PER_STEP)
    ]

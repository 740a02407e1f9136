"""What the table itself holds of each partition, by one scan, beside its projection and the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from auditlog_consumer.check.recorded import Span
from auditlog_consumer.check.report import Report
from auditlog_consumer.check.stored_offsets import LIMITS, PROJECTION, TABLE
from auditlog_storage.connection import Connection

Place: TypeAlias = tuple[UUID, int]
"""Topic id and partition."""

# Sums of hashes beside counts: one row too many and one too few must not cancel out.
_TABLE: Final = """
    SELECT topic_id, kafka_partition, count(), sum(cityHash64(kafka_offset, event_id)),
           max(kafka_offset), max(received_at)
    FROM audit_events
    GROUP BY topic_id, kafka_partition
"""

_ONE_PLACE: Final = """
    SELECT count(), sum(cityHash64(kafka_offset, event_id)) FROM SOURCE
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {partition:Int32}
      AND kafka_offset BETWEEN 0 AND {last:Int64}
"""

_RECORDED: Final = """
    SELECT topic_id, kafka_partition, any(topic), max(last_offset) FROM audit_ranges
    GROUP BY topic_id, kafka_partition
"""

_HIGHEST: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Held:
    """What the table holds of one partition: rows, the sum of their hashes, the highest offset."""

    rows: int
    hashes: int
    highest: int


@dataclass(frozen=True, slots=True)
class TableState:
    """What the table holds by topic id and partition, and the latest time of receipt of each."""

    held: Mapping[Place, Held]
    received: Mapping[Place, datetime]

    def agrees_with_projection(self, connection: Connection, span: Span) -> bool:
        """Tell whether the projection by offset has the same rows of a partition as the table.

        An engine up to 26.9 leaves rows in it that a lightweight DELETE removed from the table, until their
        part is merged or its mask applied (ClickHouse issue 111791).
        """
        held = self.held.get((span.topic_id, span.partition), Held(0, 0, 0))
        where: dict[str, object] = {"topic_id": span.topic_id, "partition": span.partition}
        projection, table = _ONE_PLACE.replace("SOURCE", PROJECTION), _ONE_PLACE.replace("SOURCE", TABLE)
        everything = connection.query_rows(projection, where | {"last": _HIGHEST}, LIMITS)
        if everything == [(held.rows, held.hashes)]:
            return True
        # Rows may have been added between the two looks: below the ledger's end none are.
        below = where | {"last": span.last}
        by_projection = connection.query_rows(projection, below, LIMITS)
        return by_projection == connection.query_rows(table, below, LIMITS)


def look_at_table(connection: Connection) -> TableState:
    """Scan the table once, without its projection."""
    rows = connection.query_rows(_TABLE, settings=LIMITS)
    return TableState(
        {(row[0], row[1]): Held(row[2], row[3], row[4]) for row in rows},
        {(row[0], row[1]): row[5] for row in rows},
    )


def check_unrecorded(
    report: Report,
    connection: Connection,
    table: TableState,
    topic: str,
    current: UUID | None,
    partition: int | None,
) -> None:
    """Add what was stored beyond the ledger's ends and is not recorded yet, now that the check is done.

    A consumer that works is about to record such rows, one that was killed does so when it is started
    again: a note. Nobody does so for a topic that Kafka no longer has: a warning. Other topics that share
    the database are passed over; rows of a topic that no ledger knows get a note.
    """
    recorded = {(row[0], row[1]): (row[2], row[3]) for row in connection.query_rows(_RECORDED)}
    topics = {topic_id: name for (topic_id, _), (name, _) in recorded.items()}
    for (topic_id, number), held in sorted(table.held.items()):
        _, end = recorded.get((topic_id, number), (topic, -1))
        known = topics.get(topic_id, topic) == topic
        if held.highest <= end or not known or partition not in (None, number):
            continue
        is_over = topic_id != current and topic_id in topics
        message = f"rows are stored up to offset {held.highest}, the ledger ends at {end}: " + (
            "no consumer will ever record them" if is_over else "a consumer records them when it goes on"
        )
        report.add(
            "warning" if is_over else "note",
            "unrecorded_rows",
            message,
            topic_id=topic_id,
            partition=number,
            first=end + 1,
            last=held.highest,
        )

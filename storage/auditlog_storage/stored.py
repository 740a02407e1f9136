"""Reading back what is stored, by Kafka offset: the only proof that an insert happened.

All of it goes through the projection `by_offset`, so it costs a few granules, however large the table.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import pyarrow as pa

from auditlog_storage.connection import Connection
from auditlog_storage.tables import SMALL_READ_SETTINGS

_SETTINGS: Final[dict[str, int | str]] = {
    "optimize_use_projections": 1,
    "preferred_optimize_projection_name": "by_offset",
}
_SMALL: Final = {**_SETTINGS, **SMALL_READ_SETTINGS}

# The key columns of the projection come first, so a range of offsets is a range of its granules.
_OFFSETS: Final = """
    SELECT kafka_offset, event_id FROM audit_events
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {kafka_partition:Int32}
      AND kafka_offset BETWEEN {first_offset:Int64} AND {last_offset:Int64}
    ORDER BY kafka_offset
"""

_HIGHEST: Final = """
    SELECT count(), max(kafka_offset) FROM audit_events
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {kafka_partition:Int32}
      AND kafka_offset >= {first_offset:Int64}
"""

_COUNT: Final = """
    SELECT uniqExact(kafka_offset) FROM audit_events
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {kafka_partition:Int32}
      AND kafka_offset BETWEEN {first_offset:Int64} AND {last_offset:Int64}
"""

_IDS: Final = """
    SELECT kafka_offset, account_id, event_id FROM audit_events
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {kafka_partition:Int32}
      AND kafka_offset BETWEEN {first_offset:Int64} AND {last_offset:Int64}
    ORDER BY kafka_offset
"""


class StoredRows:
    """Reads `audit_events` by offset. Its methods raise what `Connection` raises."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def offsets(self, topic_id: UUID, kafka_partition: int, first_offset: int, last_offset: int) -> pa.Table:
        """Return the rows stored for a range, both ends included, by offset.

        Returns:
            Columns ``kafka_offset`` (int64) and ``event_id`` (16 bytes). A row that is stored twice is
            here twice.
        """
        wanted = _range(topic_id, kafka_partition, first_offset, last_offset)
        return self._connection.query_arrow(_OFFSETS, wanted, _SMALL)

    def highest_offset(self, topic_id: UUID, kafka_partition: int, first_offset: int = 0) -> int | None:
        """Return the highest offset stored at or above `first_offset`, or None when there is none."""
        wanted = _range(topic_id, kafka_partition, first_offset)
        [(count, highest)] = self._connection.query_rows(_HIGHEST, wanted, _SETTINGS)
        return highest if count else None

    def count(self, topic_id: UUID, kafka_partition: int, first_offset: int, last_offset: int) -> int:
        """Return how many offsets of a range, both ends included, are stored."""
        wanted = _range(topic_id, kafka_partition, first_offset, last_offset)
        [(count,)] = self._connection.query_rows(_COUNT, wanted, _SETTINGS)
        return int(count)

    def recent_ids(
        self, topic_id: UUID, kafka_partition: int, first_offset: int, last_offset: int
    ) -> pa.Table:
        """Return who is stored in a range, both ends included, by offset: the window against duplicates.

        Returns:
            Columns ``kafka_offset`` (int64), ``account_id`` (string) and ``event_id`` (16 bytes).
        """
        wanted = _range(topic_id, kafka_partition, first_offset, last_offset)
        return self._connection.query_arrow(_IDS, wanted, _SETTINGS)


def _range(
    topic_id: UUID, kafka_partition: int, first_offset: int, last_offset: int | None = None
) -> dict[str, object]:
    wanted = {"topic_id": topic_id, "kafka_partition": kafka_partition, "first_offset": first_offset}
    return wanted if last_offset is None else wanted | {"last_offset": last_offset}

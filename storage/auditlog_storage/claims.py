"""Claims: which consumer group records a topic, decided before the ledger can tell."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import pyarrow as pa

from auditlog_storage.connection import Connection
from auditlog_storage.tables import AUDIT_CLAIMS


class Claims:
    """Reads and writes `audit_claims`, for any number of threads; raises what `Connection` raises.

    The claims of a topic have numbers from 1 on, and the last one holds. Each number is the token of its
    insert, and of two inserts with one token ClickHouse stores only the first: so of two groups that claim at
    once one becomes the holder, and both read who it is.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(self, topic_id: UUID, group: str, takes_over: str | None, now: datetime) -> str:
        """Return the group that records the topic: this one, unless another one was first.

        Args:
            topic_id: which topic.
            group: who asks.
            takes_over: the group that it takes the place of; None for none.
            now: when, aware UTC.
        """
        step = 0
        while True:
            number, holder = self._last(topic_id)
            if holder == group or holder not in ("", takes_over):
                return holder
            row = {
                "topic_id": topic_id.bytes,
                "number": number + 1,
                "consumer_group": group,
                "claimed_at": now,
            }
            batch = pa.RecordBatch.from_pylist([row], schema=AUDIT_CLAIMS.rows)
            self._connection.insert_batch(AUDIT_CLAIMS.name, batch, f"{topic_id}/{number + 1}/r{step}")
            # A server that died after it logged this token stores nothing under it: it needs another one.
            step += 1

    def _last(self, topic_id: UUID) -> tuple[int, str]:
        """Return the number of the last claim and its group; 0 and an empty one when there is none."""
        rows = self._connection.query_rows(_LAST, {"topic_id": topic_id})
        return (rows[0][0], rows[0][1]) if rows else (0, "")


_LAST: Final = """
    SELECT number, consumer_group FROM audit_claims WHERE topic_id = {topic_id:UUID}
    ORDER BY number DESC LIMIT 1
"""

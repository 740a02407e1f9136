"""Reading what the ledger recorded, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from auditlog_storage.connection import Connection

RANGES_PER_PAGE: Final = 5_000

_SPANS: Final = """
    SELECT topic_id, kafka_partition, min(first_offset), max(last_offset),
           minIf(first_offset, recorded_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')),
           countIf(recorded_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC'))
    FROM audit_ranges
    WHERE topic = {topic:String} AND ({any_partition:Bool} OR kafka_partition = {partition:Int32})
    GROUP BY topic_id, kafka_partition
    ORDER BY topic_id, kafka_partition
"""

_RANGES: Final = """
    SELECT first_offset, last_offset, accepted, rejected, duplicates, absent, kind, consumer_group
    FROM audit_ranges FINAL
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {partition:Int32}
      AND first_offset BETWEEN {first:Int64} AND {last:Int64}
    ORDER BY first_offset
    LIMIT {rows:UInt32}
"""


@dataclass(frozen=True, slots=True)
class Span:
    """What the ledger covers of one partition, as of when it was asked.

    Attributes:
        start: the first recorded offset.
        first: the first offset to check; beyond `start` when only recent ranges are wanted.
        last: the last recorded offset; what lies beyond it is none of a check's business.
    """

    topic_id: UUID
    partition: int
    start: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """One range of the ledger, as it was recorded, consistent or not."""

    first: int
    last: int
    accepted: int
    rejected: int
    duplicates: int
    absent: int
    kind: str
    group: str


def spans(
    connection: Connection, topic: str, partition: int | None = None, since: datetime | None = None
) -> list[Span]:
    """Return what the ledger covers now, by topic id and partition; one with nothing since then is left out.

    With `since`, a partition is checked from the first range on that was recorded then.
    """
    wanted = {
        "topic": topic,
        "any_partition": partition is None,
        "partition": partition or 0,
        "since": int(since.timestamp() * 1000) if since else 0,
    }
    return [
        Span(topic_id, number, start, first, last)
        for topic_id, number, start, last, first, count in connection.query_rows(_SPANS, wanted)
        if count
    ]


def pages(connection: Connection, span: Span) -> Iterator[list[Recorded]]:
    """Yield the ranges of a span by their first offset, in pages of at most `RANGES_PER_PAGE`."""
    where = {"topic_id": span.topic_id, "partition": span.partition, "rows": RANGES_PER_PAGE}
    first = span.first
    while first <= span.last:
        found = connection.query_rows(_RANGES, where | {"first": first, "last": span.last})
        page = [Recorded(*row) for row in found]
        # A range that was recorded meanwhile, above the span's end, is for the next check.
        if page := [each for each in page if each.last <= span.last]:
            yield page
        if len(found) < RANGES_PER_PAGE:
            return
        first = found[-1][0] + 1

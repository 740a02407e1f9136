"""The check: does what is stored and dead-lettered account for every offset that the ledger covers?

An independent reader: it shares no counting with the consumer. It reads only what the ledger covers, so it
may run while a consumer works. Memory stays constant but for the offsets of dead letters (8 bytes each).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from auditlog_consumer.dead_letter_log import DeadLetterLog
from auditlog_consumer.settings import ConsumerSettings
from auditlog_storage.connection import Connection

RANGES_PER_QUERY: Final = 5_000

_ENDS: Final = """
    SELECT topic_id, kafka_partition, max(last_offset) FROM audit_ranges
    WHERE topic = {topic:String} GROUP BY topic_id, kafka_partition
"""

_LEDGER: Final = """
    SELECT topic_id, kafka_partition, first_offset, last_offset, accepted, rejected, duplicates, absent, kind
    FROM audit_ranges FINAL
    WHERE topic = {topic:String}
      AND ({any_partition:Bool} OR kafka_partition = {partition:Int32})
      AND recorded_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
      AND (topic_id, kafka_partition, first_offset)
        > ({after_id:UUID}, {after_partition:Int32}, {after:Int64})
    ORDER BY topic_id, kafka_partition, first_offset
    LIMIT {rows:UInt32}
"""

# Rows and distinct offsets of each range of one page; ranges do not overlap when the check gets here.
_STORED: Final = """
    SELECT range.first_offset, count(), uniqExact(kafka_offset)
    FROM (
        SELECT 1 AS same, kafka_offset FROM audit_events
        WHERE topic_id = {topic_id:UUID} AND kafka_partition = {partition:Int32}
          AND kafka_offset BETWEEN {first:Int64} AND {last:Int64}
    ) AS event
    ASOF INNER JOIN (
        SELECT 1 AS same, first_offset FROM audit_ranges FINAL
        WHERE topic_id = {topic_id:UUID} AND kafka_partition = {partition:Int32}
          AND first_offset BETWEEN {first:Int64} AND {last:Int64}
    ) AS range ON event.same = range.same AND event.kafka_offset >= range.first_offset
    GROUP BY range.first_offset
"""

_STORED_AMONG: Final = """
    SELECT uniqExact(kafka_offset) FROM audit_events
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {partition:Int32}
      AND kafka_offset IN {offsets:Array(Int64)}
"""

_TWICE: Final = """
    SELECT kafka_offset, count() FROM audit_events
    WHERE topic_id = {topic_id:UUID} AND kafka_partition = {partition:Int32}
      AND kafka_offset BETWEEN {first:Int64} AND {last:Int64}
    GROUP BY kafka_offset HAVING count() > 1 ORDER BY kafka_offset LIMIT 10
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be, and where."""

    severity: Literal["error", "warning"]
    partition: int
    first_offset: int
    last_offset: int
    message: str


@dataclass(slots=True)
class Report:
    """What was checked and what was found; offsets add up to accepted + rejected + duplicates + absent."""

    ranges: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    absent: int = 0
    lost: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether there is no error; warnings are allowed."""
        return all(finding.severity != "error" for finding in self.findings)


@dataclass(frozen=True, slots=True)
class _Row:
    topic_id: UUID
    partition: int
    first: int
    last: int
    accepted: int
    rejected: int
    duplicates: int
    absent: int
    kind: str


def check(
    connection: Connection,
    settings: ConsumerSettings,
    partition: int | None = None,
    since: datetime | None = None,
) -> Report:
    """Check every recorded range of the topic, or of one partition, or those recorded since a time.

    Raises:
        StorageUnavailable, BrokerUnavailable: ClickHouse or Kafka did not answer.
    """
    report = Report()
    # The ends first: a batch that is recorded while this runs is for the next check, letters and all.
    wanted = {"topic": settings.topic}
    ends = {(row[0], row[1]): row[2] for row in connection.query_rows(_ENDS, wanted)}
    letters = _dead_letter_offsets(settings)
    before: _Row | None = None
    for recorded in _pages(connection, settings.topic, partition, since):
        page = [row for row in recorded if row.last <= ends.get((row.topic_id, row.partition), -1)]
        for row in page:
            _check_row(report, row, before)
            before = row
        if page:
            _check_stored(report, connection, page)
        for row in page:
            _check_letters(report, connection, row, letters[row.topic_id, row.partition])
    return report


def _pages(
    connection: Connection, topic: str, partition: int | None, since: datetime | None
) -> Iterator[list[_Row]]:
    """Yield the ledger in pages, each of one partition of one topic id."""
    after: dict[str, Any] = {"after_id": UUID(int=0), "after_partition": -1, "after": -1}
    wanted = {
        "topic": topic,
        "any_partition": partition is None,
        "partition": partition or 0,
        "since": int(since.timestamp() * 1000) if since else 0,
        "rows": RANGES_PER_QUERY,
    }
    while rows := [_Row(*row) for row in connection.query_rows(_LEDGER, wanted | after)]:
        page: list[_Row] = []
        for row in rows:
            if page and (row.topic_id, row.partition) != (page[0].topic_id, page[0].partition):
                yield page
                page = []
            page.append(row)
        yield page
        last = rows[-1]
        after = {"after_id": last.topic_id, "after_partition": last.partition, "after": last.first}


def _check_row(report: Report, row: _Row, before: _Row | None) -> None:
    report.ranges += 1
    report.accepted += row.accepted
    report.rejected += row.rejected
    report.duplicates += row.duplicates
    report.absent += row.absent
    if row.last - row.first + 1 != row.accepted + row.rejected + row.duplicates + row.absent:
        _error(report, row, row.first, row.last, "the ledger's counts do not add up to the range's offsets")
    if row.kind == "lost":
        report.lost += row.last - row.first + 1
        _error(
            report, row, row.first, row.last, "lost: Kafka's retention deleted these before they were read"
        )
    elif row.absent:
        found = f"{row.absent} offsets hold no message; without transactional producers there should be none"
        report.findings.append(Finding("warning", row.partition, row.first, row.last, found))
    if before is None or (before.topic_id, before.partition) != (row.topic_id, row.partition):
        return
    if row.first > before.last + 1:
        _error(report, row, before.last + 1, row.first - 1, "no range of the ledger covers these offsets")
    elif row.first <= before.last:
        _error(
            report, row, row.first, min(row.last, before.last), "two ranges of the ledger cover these offsets"
        )


def _check_stored(report: Report, connection: Connection, page: list[_Row]) -> None:
    where = {
        "topic_id": page[0].topic_id,
        "partition": page[0].partition,
        "first": page[0].first,
        "last": max(row.last for row in page),
    }
    counts = {first: (rows, offsets) for first, rows, offsets in connection.query_rows(_STORED, where)}
    for row in page:
        rows, offsets = counts.get(row.first, (0, 0))
        if offsets != row.accepted:
            found = f"{offsets} offsets are stored, the ledger says {row.accepted}"
            _error(report, row, row.first, row.last, found)
        if rows != offsets:
            _report_twice(report, connection, row)


def _report_twice(report: Report, connection: Connection, row: _Row) -> None:
    where = {"topic_id": row.topic_id, "partition": row.partition, "first": row.first, "last": row.last}
    for offset, count in connection.query_rows(_TWICE, where):
        _error(report, row, offset, offset, f"stored {count} times")


def _check_letters(report: Report, connection: Connection, row: _Row, offsets: list[int]) -> None:
    letters = offsets[bisect_left(offsets, row.first) : bisect_left(offsets, row.last + 1)]
    found = len(letters)
    if found > row.rejected:
        # Rules changed between two tries of a batch: rejected by the first, stored by the second.
        where = {"topic_id": row.topic_id, "partition": row.partition, "offsets": letters}
        found -= connection.query_rows(_STORED_AMONG, where)[0][0]
    if found != row.rejected:
        message = f"{found} dead letters are there, the ledger says {row.rejected}"
        _error(report, row, row.first, row.last, message)


def _dead_letter_offsets(settings: ConsumerSettings) -> defaultdict[tuple[UUID, int], list[int]]:
    found: defaultdict[tuple[UUID, int], list[int]] = defaultdict(list)
    for letter in DeadLetterLog(settings).read():
        # A message that somebody else wrote to the topic names no topic of ours.
        with suppress(ValueError):
            found[UUID(letter.source_topic_id), letter.source_partition].append(letter.source_offset)
    for offsets in found.values():
        offsets.sort()
    return found


def _error(report: Report, row: _Row, first: int, last: int, message: str) -> None:
    report.findings.append(Finding("error", row.partition, first, last, message))

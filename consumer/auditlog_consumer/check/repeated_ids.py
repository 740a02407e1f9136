"""Finding events that are stored at more than one offset: published again outside the consumer's window.

The engine does it in slices of at most so many rows, so that its memory is bounded whatever the table's size;
a slice that is larger nevertheless is spilled to its disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from auditlog_consumer.check.report import Report
from auditlog_storage.connection import Connection

SLICE_ROWS: Final = 4_000_000
SLICES_MAX: Final = 64
"""Of one account bucket: each slice reads the bucket's ids once more."""
NAMED_MAX: Final = 20

LIMITED: Final[dict[str, int | str]] = {
    "max_memory_usage": 2 << 30,
    "max_bytes_before_external_group_by": 512 << 20,
    "max_bytes_ratio_before_external_group_by": 0,
    "max_bytes_before_external_sort": 512 << 20,
    "max_bytes_ratio_before_external_sort": 0,
    "optimize_use_projections": 0,
}
"""Settings of a query whose groups or rows may be many."""

_WANTED: Final = """
    ({any_partition:Bool} OR kafka_partition = {partition:Int32})
    AND received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
"""

_BUCKETS: Final = f"""
    SELECT account_bucket, count() FROM audit_events WHERE {_WANTED} GROUP BY account_bucket ORDER BY 1
"""  # noqa: S608 - made of constants

_SLICE: Final = f"""
    account_bucket = {{bucket:UInt8}} AND {_WANTED}
    AND cityHash64(event_id) % {{slices:UInt32}} = {{slice:UInt32}}
"""

_REPEATED: Final = f"""
    SELECT sipHash128(account_id, event_id) AS id FROM audit_events WHERE {_SLICE}
    GROUP BY id HAVING count() > 1
"""  # noqa: S608 - made of constants

_COUNT: Final = f"SELECT count() FROM ({_REPEATED})"  # noqa: S608 - made of constants

# A row that is stored twice at one offset is another finding. The set of a slice's repeated ids is limited:
# when there are more, the finding says "at least".
_PLACES: Final = f"""
    SELECT account_id, event_id, max(place), count() OVER () FROM (
        SELECT account_id, event_id, (topic_id, kafka_partition, kafka_offset) AS place
        FROM audit_events
        WHERE {_SLICE} AND sipHash128(account_id, event_id) IN ({_REPEATED} LIMIT 1000000)
    )
    GROUP BY account_id, event_id HAVING min(place) != max(place)
    ORDER BY max(place) LIMIT {NAMED_MAX}
"""  # noqa: S608 - made of constants


def check_repeated_ids(
    report: Report, connection: Connection, partition: int | None, since: datetime | None
) -> None:
    """Add a warning for the first events that are stored at several offsets, and one with their number.

    With `partition` or `since`, only rows of that partition, or received since then, are compared.
    """
    wanted: dict[str, object] = {
        "any_partition": partition is None,
        "partition": partition or 0,
        "since": int(since.timestamp() * 1000) if since else 0,
    }
    total = named = 0
    for where in _slices(connection, wanted):
        if not connection.query_rows(_COUNT, where, LIMITED)[0][0]:
            continue
        found = connection.query_rows(_PLACES, where, LIMITED)
        total += found[0][3] if found else 0
        for account_id, event_id, place, _ in found[: NAMED_MAX - named]:
            named += 1
            _warn(report, account_id, event_id, place)
    if total > named:
        report.add(
            "warning",
            "published_again",
            f"{total - named} more events are stored at several offsets: published again outside the window",
        )


def _slices(connection: Connection, wanted: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Yield the parameters of slices that together hold every wanted row, all rows of an id in one slice."""
    for bucket, rows in connection.query_rows(_BUCKETS, wanted):
        slices = min(-(-rows // SLICE_ROWS), SLICES_MAX)
        for number in range(slices):
            yield {**wanted, "bucket": bucket, "slices": slices, "slice": number}


def _warn(report: Report, account_id: str, event_id: UUID, place: tuple[Any, ...]) -> None:
    topic_id, partition, offset = place
    report.add(
        "warning",
        "published_again",
        f"event {event_id} of account {account_id!r:.80} is stored at an earlier offset too: published again "
        "outside the consumer's window against duplicates",
        topic_id=topic_id,
        partition=partition,
        first=offset,
        last=offset,
    )

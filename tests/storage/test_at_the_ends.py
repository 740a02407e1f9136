"""Numbers at both ends of their types: what ClickHouse would let wrap is right, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from auditlog_schemas.errors import StorageRejected
from auditlog_storage.account_query import AccountQuery
from auditlog_storage.cursor import Cursor, Position, encode_cursor
from auditlog_storage.filters import EventFilter
from auditlog_storage.ledger import Gap, Ledger, Range
from auditlog_storage.ledger_ends import LedgerEnds, snapshot_of
from auditlog_storage.reader import LogReader
from auditlog_storage.sealed import Seal
from auditlog_storage.snapshot import Snapshot
from auditlog_storage.stored import StoredRows
from auditlog_storage.tables import OFFSET_MAX
from auditlog_storage.tail import LogTail
from storage.event_log import Log

pytestmark = pytest.mark.integration

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
ALL = EventFilter()


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("Int64", HIGHEST + 1),
        ("Int64", LOWEST - 1),
        ("Int32", 1 << 31),
        ("Int32", -(1 << 31) - 1),
        ("UInt32", 1 << 32),
        ("UInt32", -1),
        ("UInt8", 256),
        ("UInt64", 1 << 64),
        ("Array(Int64)", [1, HIGHEST + 1]),
        ("Array(Int32)", [1 << 31]),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(shared_log: Log, type: str, value: object) -> None:
    for ask in (shared_log.connection.query_rows, shared_log.connection.query_arrow):
        with pytest.raises(StorageRejected, match=r"^number: -?\d+ does not fit U?Int\d+$"):
            ask(f"SELECT {{number:{type}}}", {"number": value})


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("Int64", HIGHEST),
        ("Int64", LOWEST),
        ("Int32", -(1 << 31)),
        ("UInt32", (1 << 32) - 1),
        ("UInt8", 255),
        ("UInt64", (1 << 64) - 1),
        ("Array(Int64)", [LOWEST, HIGHEST]),
        ("Array(Int32)", []),
    ],
)
def test_a_parameter_that_fits_arrives(shared_log: Log, type: str, value: object) -> None:
    assert shared_log.connection.query_rows(f"SELECT {{number:{type}}}", {"number": value}) == [(value,)]


def by_hand(log: Log, topic_id: UUID, ranges: Sequence[tuple[int, int]], accepted: int = 1) -> None:
    """Write rows of the ledger that no consumer writes."""
    values = ", ".join(
        f"('t', '{topic_id}', 0, {first}, {last}, {accepted}, 0, 0, 0, 'committed', 'g', now64(3))"
        for first, last in ranges
    )
    log.connection.command(f"INSERT INTO audit_ranges VALUES {values}")


@pytest.mark.parametrize(
    ("ranges", "gaps"),
    [
        ([(0, HIGHEST), (5, 5)], []),
        ([(HIGHEST - 1, HIGHEST - 1), (HIGHEST, HIGHEST)], []),
        ([(0, 0), (HIGHEST, HIGHEST)], [(1, HIGHEST - 1)]),
        ([(HIGHEST - 2, HIGHEST - 2), (HIGHEST, HIGHEST)], [(HIGHEST - 1, HIGHEST - 1)]),
        ([(LOWEST, LOWEST), (LOWEST + 1, LOWEST + 1)], []),
        ([(LOWEST, LOWEST), (HIGHEST, HIGHEST)], [(LOWEST + 1, HIGHEST - 1)]),
        ([(LOWEST, HIGHEST), (0, 0), (HIGHEST, HIGHEST)], []),
    ],
)
def test_gaps(shared_log: Log, ranges: list[tuple[int, int]], gaps: list[tuple[int, int]]) -> None:
    topic_id = uuid4()
    by_hand(shared_log, topic_id, ranges)
    assert Ledger(shared_log.connection).gaps(topic_id) == [Gap(0, first, last) for first, last in gaps]


def test_the_last_range_that_kafka_can_have(shared_log: Log) -> None:
    topic_id, ledger = uuid4(), Ledger(shared_log.connection)
    for first, last in ((0, OFFSET_MAX - 1), (OFFSET_MAX, OFFSET_MAX)):
        absent, now = last - first + 1, datetime(2026, 3, 1, tzinfo=UTC)
        ledger.append(Range("t", topic_id, 0, first, last, 0, 0, 0, absent, "g", now, "lost"))
    assert ledger.next_offset(topic_id, 0) == HIGHEST
    assert [range.first_offset for range in ledger.ranges(topic_id)] == [0, OFFSET_MAX]
    assert ledger.gaps(topic_id) == []


@pytest.mark.parametrize(("first", "last"), [(HIGHEST, HIGHEST), (LOWEST, LOWEST), (OFFSET_MAX, HIGHEST)])
def test_a_ledger_row_that_is_no_range_says_what_to_do(shared_log: Log, first: int, last: int) -> None:
    topic_id, ledger = uuid4(), Ledger(shared_log.connection)
    by_hand(shared_log, topic_id, [(first, last)], last - first + 1)
    for read in (lambda: ledger.furthest(topic_id, 0), lambda: list(ledger.ranges(topic_id))):
        with pytest.raises(StorageRejected, match=r"audit_ranges was changed by hand: .*'gap in the ledger'"):
            read()


@pytest.mark.parametrize(
    ("first", "last", "end"),
    [
        (OFFSET_MAX, OFFSET_MAX, HIGHEST),
        (HIGHEST, HIGHEST, HIGHEST),
        (LOWEST, LOWEST, 0),
        (LOWEST, -1, 0),
        (0, HIGHEST, HIGHEST),
    ],
)
def test_where_a_ledger_ends(shared_log: Log, first: int, last: int, end: int) -> None:
    topic_id, ends = uuid4(), LedgerEnds(shared_log.connection.query_rows)
    ends.read()
    by_hand(shared_log, topic_id, [(first, last)])
    for reader in (ends, LedgerEnds(shared_log.connection.query_rows)):
        found = snapshot_of(reader.read())
        assert found.ends[topic_id, 0] == end
        assert Snapshot.from_bytes(found.to_bytes()) == found


def test_the_last_events_that_kafka_can_have(shared_log: Log) -> None:
    """They are read back, shown on a page and followed."""
    log, account = Log(shared_log.connection, shared_log.catalog), f"acc_{uuid4().hex}"
    events = [log.event(account_id=account) for _ in range(3)]
    log.store(events[0], first_offset=0)
    position = LogTail(log.connection).after(account, ALL, None, 10).position
    log.store(*events[1:], first_offset=OFFSET_MAX - 1)
    rows = StoredRows(log.connection)
    found = rows.offsets(log.topic_id, 0, OFFSET_MAX - 1, OFFSET_MAX)
    assert found.column("kafka_offset").to_pylist() == [OFFSET_MAX - 1, OFFSET_MAX]
    assert rows.highest_offset(log.topic_id, 0) == OFFSET_MAX
    assert rows.highest_offset(log.topic_id, 0, HIGHEST) is None
    assert rows.count(log.topic_id, 0, 0, HIGHEST) == 3
    assert len(LogReader(log.connection).timeline(account).events) == 3
    tail = LogTail(log.connection)
    first = tail.after(account, ALL, position, 1)
    second = tail.after(account, ALL, tail.opened(account, first.text), 10)
    ids = [stored.event.event_id for found in (first, second) for stored, _ in found.events]
    assert ids == [event.event_id for event in events[1:]]
    assert second.position.seen.ends[log.topic_id, 0] == HIGHEST
    assert tail.after(account, ALL, second.position, 10).events == ()


@pytest.mark.parametrize("micros", [LOWEST, LOWEST + 1, -1, 0, HIGHEST - 1, HIGHEST])
def test_a_page_may_begin_at_any_time(shared_log: Log, micros: int) -> None:
    account = f"acc_{uuid4().hex}"
    shared_log.store(shared_log.event(account_id=account))
    snapshot = snapshot_of(AccountQuery(shared_log.connection).ledger_ends())
    reader, seal = LogReader(shared_log.connection), Seal.of(shared_log.connection)
    for newer in (False, True):
        place = Cursor(Position(micros, UUID(int=0)), newer, None, snapshot)
        page = reader.timeline(account, ALL, cursor=encode_cursor(seal, place, account, ALL))
        assert len(page.events) == (newer == (micros < 1))

"""Paging while the log grows: both ways nothing is lost or repeated, and what came later stays away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog_schemas.event import AuditEvent
from auditlog_storage.filters import EventFilter
from auditlog_storage.ledger_ends import LedgerEnd, snapshot_of
from auditlog_storage.reader import LogReader, Page
from auditlog_storage.recorded import PARTITIONS_IN_CURSOR_MAX
from auditlog_storage.search import parse_search
from auditlog_storage.snapshot import Snapshot
from storage.event_log import Log, engine_order

NOON = 1_772_366_400_000_000
NOW = datetime(2026, 3, 1, 13, tzinfo=UTC)

# Few times, so that many are equal.
SPECS = st.fixed_dictionaries(
    {
        "event_id": st.uuids().map(str),
        "occurred_at": st.integers(0, 3).map(lambda after: NOON + after),
        "action": st.sampled_from(("license_reset", "order_created")),
    }
)
BATCHES = st.lists(SPECS, max_size=6)


def _events(page: Page) -> list[AuditEvent]:
    return [stored.event for stored in page.events]


@pytest.mark.integration
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(SPECS, min_size=1, max_size=12, unique_by=lambda spec: spec["event_id"]),
    st.lists(BATCHES, min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=1, max_size=5),
    st.integers(1, 5),
    st.booleans(),
)
def test_pages_of_a_moving_log(
    shared_log: Log,
    first: list[dict[str, Any]],
    arriving: list[list[dict[str, Any]]],
    turns: list[bool],
    limit: int,
    searched: bool,
) -> None:
    log = Log(shared_log.connection, shared_log.catalog)
    reader = LogReader(log.connection)
    account = f"acc_{uuid4().hex}"
    asked = (
        EventFilter(search=parse_search("action:license.* created:1d", NOW)) if searched else EventFilter()
    )
    events = [log.event(account_id=account, **spec) for spec in first]
    log.store(*events)
    # Some rows are stored a second time, at other offsets.
    log.store(*events[::3])
    expected = [event for event in events if not searched or event.action.startswith("license")]
    expected.sort(key=engine_order, reverse=True)

    def arrive(number: int) -> None:
        new = [log.event(account_id=account, **spec) for spec in arriving[number % len(arriving)]]
        rows = log.batch([event.model_copy(update={"event_id": uuid4()}) for event in new], number % 3)
        if rows.num_rows:
            log.writer.insert(rows, uuid4().hex)
            # Stored and not recorded yet, as a row can be for a moment.
            if number % 2:
                log.record(rows)

    page = reader.timeline(account, asked, limit)
    found, number = _events(page), 0
    assert page.previous_cursor is None
    while page.next_cursor is not None:
        arrive(number)
        if turns[number % len(turns)] and page.previous_cursor is not None:
            # Back one page and forth again.
            back = reader.timeline(account, asked, limit, page.previous_cursor)
            assert _events(back) == found[: -len(page.events)][-limit:]
            assert back.next_cursor is not None
            assert _events(reader.timeline(account, asked, limit, back.next_cursor)) == _events(page)
        page = reader.timeline(account, asked, limit, page.next_cursor)
        found += _events(page)
        number += 1
    assert found == expected
    backwards = _events(page)
    while page.previous_cursor is not None:
        arrive(number)
        page = reader.timeline(account, asked, limit, page.previous_cursor)
        backwards = _events(page) + backwards
        number += 1
    assert backwards == expected


@pytest.mark.integration
def test_what_is_stored_and_not_recorded_does_not_show(shared_log: Log) -> None:
    log = Log(shared_log.connection, shared_log.catalog)
    reader = LogReader(log.connection)
    account = f"acc_{uuid4().hex}"
    event = log.event(account_id=account)
    rows = log.batch([event])
    log.writer.insert(rows, uuid4().hex)
    assert reader.timeline(account).events == ()
    assert reader.event(account, event.event_id).event == event, "a permalink finds whatever is stored"
    log.record(rows)
    assert _events(reader.timeline(account)) == [event]


@pytest.mark.integration
def test_relative_times_of_later_pages_count_from_the_first(shared_log: Log) -> None:
    log = Log(shared_log.connection, shared_log.catalog)
    reader = LogReader(log.connection)
    account = f"acc_{uuid4().hex}"
    events = [log.event(account_id=account, occurred_at=NOON + after) for after in (0, 1, 2)]
    log.store(*events)
    early = datetime(2026, 3, 1, 12, tzinfo=UTC)
    page = reader.timeline(account, EventFilter(search=parse_search("created:1h", early)), 1)
    # An hour later the same text would match none of them.
    later = EventFilter(search=parse_search("created:1h", early + timedelta(hours=2)))
    assert reader.timeline(account, later).events == ()
    rest = reader.timeline(account, later, 5, page.next_cursor)
    assert _events(rest) == [events[1], events[0]]


@pytest.mark.integration
def test_with_many_partitions_a_cursor_stays_short(shared_log: Log) -> None:
    log = Log(shared_log.connection, shared_log.catalog)
    account = f"acc_{uuid4().hex}"
    mine = [log.event(account_id=account, occurred_at=NOON + number) for number in range(3)]
    log.store(*mine, kafka_partition=5)
    log.store(log.event(account_id=account + "x"), kafka_partition=PARTITIONS_IN_CURSOR_MAX + 10)
    for partition in range(PARTITIONS_IN_CURSOR_MAX):
        log.record(log.batch([log.event(account_id=account + "x")], partition, 10_000))
    reader = LogReader(log.connection)
    page = reader.timeline(account, limit=1)
    assert page.next_cursor is not None
    assert len(page.next_cursor) < 140
    assert _events(reader.timeline(account, limit=5, cursor=page.next_cursor)) == [mine[1], mine[0]]


@pytest.mark.integration
def test_with_a_topic_that_was_made_again_many_times_a_cursor_stays_short(log: Log) -> None:
    mine = [log.event(account_id="acc_mine", occurred_at=NOON + number) for number in range(3)]
    log.store(*mine)
    for _ in range(PARTITIONS_IN_CURSOR_MAX):
        again = Log(log.connection, log.catalog)
        again.topic = log.topic
        again.record(again.batch([again.event()]))
    reader = LogReader(log.connection)
    page = reader.timeline("acc_mine", limit=1)
    assert page.next_cursor is not None
    assert len(page.next_cursor) < 140
    assert _events(reader.timeline("acc_mine", limit=5, cursor=page.next_cursor)) == [mine[1], mine[0]]


def test_a_snapshot_of_a_thousand_partitions_in_bytes() -> None:
    topic = uuid4()
    snapshot = Snapshot({(topic, partition): 50_000_000 + partition for partition in range(1_000)})
    assert len(snapshot.to_bytes()) < 6_100
    assert Snapshot.from_bytes(snapshot.to_bytes()) == snapshot
    assert len(snapshot.only({(topic, 7)}).to_bytes()) < 30


def test_how_long_a_snapshot_is_shows_nothing_of_what_is_in_its_partitions() -> None:
    topic = uuid4()
    sizes = {
        len(Snapshot({(topic, 0): end, (topic, 1): other}).to_bytes())
        for end in (0, 1, 127, 128, 10**6, 10**12)
        for other in (0, 3, 2**33)
    }
    assert len(sizes) == 1


def test_a_snapshot_costs_by_the_partitions_that_it_names() -> None:
    _, values = Snapshot({(uuid4(), 2**31 - 1): 7, (uuid4(), 0): 2**63 - 1}).condition()
    assert sorted(len(value) for value in values.values() if isinstance(value, list)) == [1, 1, 1, 1]


def test_all_rows_of_a_topic_that_was_made_again_belong_to_a_snapshot() -> None:
    old, new = uuid4(), uuid4()
    ends = [LedgerEnd("t", old, 0, 0, 5, NOW), LedgerEnd("t", new, 0, 0, 3, NOW + timedelta(hours=1))]
    assert snapshot_of(ends) == Snapshot({(new, 0): 3}, frozenset({old}))
    assert snapshot_of([]).condition() == ("(0)", {})

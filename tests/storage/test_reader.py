from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from auditlog_schemas.errors import BadFilter, NotFound
from auditlog_schemas.event import datetime_of
from auditlog_schemas.record import micros_of
from auditlog_storage.filters import EventFilter
from auditlog_storage.histogram import Bar
from auditlog_storage.reader import LogReader, Page
from storage.event_log import RECEIVED, Log

pytestmark = pytest.mark.integration

NOON = 1_772_366_400_000_000
HOUR = 3_600_000_000

HOSTILE = (
    "it's",
    'say "x"',
    "back\\slash",
    "\\N",
    "NULL",
    "nul\0inside",
    "line\r\nbreak\ttab",
    "😀 \u202e\u200b",
    "'); DROP TABLE audit_events; --",
    "{account_id:String}",
    "%' OR 1=1 --",
    "`x`",
    "a/b",
)


@pytest.fixture(scope="module")
def reader(shared_log: Log) -> LogReader:
    return LogReader(shared_log.connection)


@pytest.fixture
def account() -> str:
    return f"acc_{uuid4().hex}"


def _ids(page: Page) -> list[str]:
    return [stored.event.entity.id for stored in page.events]


def _entity(id: str, type: str = "license") -> dict[str, Any]:
    return {"type": type, "id": id, "name": None}


def test_an_event_comes_back_as_it_was_published(shared_log: Log, reader: LogReader, account: str) -> None:
    event = shared_log.event(account_id=account, metadata={"b": "2", "a": "1", "": "x"})
    bare = shared_log.event(
        account_id=account,
        occurred_at=NOON - 1,
        entity=_entity("bare"),
        related=[],
        changes=[],
        metadata={},
        context={"ip": None, "user_agent": None, "request_id": None},
        actor={"type": "system", "id": "cron", "name": None, "email": None, "impersonator_id": "usr_9"},
    )
    topic_id = shared_log.topic_id
    shared_log.store(event, bare, kafka_partition=5, first_offset=1_000)
    page = reader.timeline(account)
    assert [stored.event for stored in page.events] == [event, bare]
    assert page.next_cursor is None
    first = page.events[0]
    assert (first.topic_id, first.kafka_partition, first.kafka_offset) == (topic_id, 5, 1_000)
    assert first.received_at == RECEIVED
    assert shared_log.catalog.sentence(first.event) == "Ada updated license Pro seat"
    assert reader.event(account, event.event_id) == first


def test_another_accounts_event_is_not_found(shared_log: Log, reader: LogReader, account: str) -> None:
    event = shared_log.event(account_id=account)
    shared_log.store(event)
    with pytest.raises(NotFound):
        reader.event(account + "x", event.event_id)
    with pytest.raises(NotFound):
        reader.event(account, uuid4())
    assert reader.timeline(account + "x").events == ()


@pytest.mark.parametrize("account_id", ["", "x" * 257, "\udc00"])
def test_an_account_is_needed(reader: LogReader, account_id: str) -> None:
    for read in (reader.timeline, reader.counts_by_action, reader.histogram):
        with pytest.raises(BadFilter, match=r"^account_id: "):
            read(account_id)
    with pytest.raises(BadFilter, match=r"^account_id: "):
        reader.item(account_id, "license", "lic_1")
    with pytest.raises(BadFilter, match=r"^account_id: "):
        reader.event(account_id, uuid4())


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_page_has_a_limit(reader: LogReader, limit: int) -> None:
    with pytest.raises(BadFilter, match=r"^limit: "):
        reader.timeline("acc_1", limit=limit)


def test_an_item_shows_what_it_is_related_to(shared_log: Log, reader: LogReader, account: str) -> None:
    def store(id: str, type: str, related: list[dict[str, Any]], minute: int) -> None:
        shared_log.store(
            shared_log.event(
                account_id=account,
                entity=_entity(id, type),
                related=related,
                occurred_at=NOON + minute * 60_000_000,
            )
        )

    store("lic_1", "license", [], 1)
    store("dev_1", "device", [_entity("lic_1"), _entity("cus_1", "customer")], 2)
    store("lic_2", "license", [_entity("lic_1", "order")], 3)
    store("lic_1", "order", [], 4)
    store("lic_11", "license", [], 5)
    assert _ids(reader.item(account, "license", "lic_1")) == ["dev_1", "lic_1"]
    assert _ids(reader.item(account, "order", "lic_1")) == ["lic_1", "lic_2"]
    assert _ids(reader.item(account, "customer", "cus_1", limit=1)) == ["dev_1"]
    assert reader.item(account, "license", "none").events == ()
    since = EventFilter(since=datetime(2026, 3, 1, 12, 2, tzinfo=UTC))
    assert _ids(reader.item(account, "license", "lic_1", since)) == ["dev_1"]


def test_an_items_cursor_is_for_that_item(shared_log: Log, reader: LogReader, account: str) -> None:
    shared_log.store(*(shared_log.event(account_id=account) for _ in range(3)))
    page = reader.item(account, "license", "lic_1", limit=2)
    assert len(reader.item(account, "license", "lic_1", limit=2, cursor=page.next_cursor).events) == 1
    for asked in [
        (account, "license", "lic_2"),
        (account, "order", "lic_1"),
        (account + "x", "license", "lic_1"),
    ]:
        with pytest.raises(BadFilter, match=r"^cursor: "):
            reader.item(*asked, cursor=page.next_cursor)
    with pytest.raises(BadFilter, match=r"^cursor: "):
        reader.timeline(account, cursor=page.next_cursor)


def test_a_row_stored_twice_is_shown_once(shared_log: Log, reader: LogReader, account: str) -> None:
    events = [
        shared_log.event(account_id=account, occurred_at=NOON + n // 2, entity=_entity(str(n)))
        for n in range(7)
    ]
    for copies in range(3):
        shared_log.store(*events[copies:])
    for limit in (1, 2, 3, 7, 50):
        found: list[str] = []
        cursor = None
        while True:
            page = reader.timeline(account, limit=limit, cursor=cursor)
            found += _ids(page)
            cursor = page.next_cursor
            if cursor is None:
                break
            assert len(page.events) == limit
        assert sorted(found) == [str(n) for n in range(7)]


def test_events_that_arrive_do_not_shift_pages(shared_log: Log, reader: LogReader, account: str) -> None:
    old = [
        shared_log.event(account_id=account, occurred_at=NOON + n, entity=_entity(str(n))) for n in range(6)
    ]
    shared_log.store(*old)
    first = reader.timeline(account, limit=3)
    shared_log.store(*(shared_log.event(account_id=account, occurred_at=NOON + 10 + n) for n in range(5)))
    second = reader.timeline(account, limit=3, cursor=first.next_cursor)
    assert _ids(first) + _ids(second) == ["5", "4", "3", "2", "1", "0"]
    assert second.next_cursor is None


def test_counts_and_histograms(shared_log: Log, reader: LogReader, account: str) -> None:
    for hours, action in [
        (-13, "license_created"),
        (0, "license_updated"),
        (0, "order_created"),
        (1, "order_created"),
    ]:
        shared_log.store(
            shared_log.event(account_id=account, action=action, occurred_at=NOON + hours * HOUR + 999_999)
        )
    assert list(reader.counts_by_action(account).items()) == [
        ("order_created", 2),
        ("license_created", 1),
        ("license_updated", 1),
    ]
    assert reader.counts_by_action(account, EventFilter(groups=("Licenses",))) == {
        "license_created": 1,
        "license_updated": 1,
    }
    night = datetime(2026, 2, 28, 18, tzinfo=UTC)
    histogram = reader.histogram(account, bars_max=5)
    assert histogram.bar_seconds == 6 * 3600
    assert histogram.bars == tuple(
        Bar(night + timedelta(hours=6 * number), events) for number, events in enumerate((1, 0, 0, 3))
    )
    assert (histogram.since, histogram.until, histogram.total) == (
        datetime(2026, 2, 28, 23, 0, 0, 999_999, tzinfo=UTC),
        datetime(2026, 3, 1, 13, 0, 1, tzinfo=UTC),
        4,
    )
    for bars_max in (0, 1_001):
        with pytest.raises(BadFilter, match=r"^bars_max: "):
            reader.histogram(account, bars_max=bars_max)


def test_bars_of_days_and_weeks_hold_what_happened_in_them(
    shared_log: Log, reader: LogReader, account: str
) -> None:
    """Also just before and at midnight, and among rows that were merged and rows that were not."""
    times = [NOON + day * 24 * HOUR for day in range(0, 400, 3)]
    times += [NOON + 12 * HOUR - 1, NOON + 12 * HOUR]
    for some in (times[::2], times[1::2]):
        shared_log.store(*(shared_log.event(account_id=account, occurred_at=time) for time in some))
        shared_log.connection.command("OPTIMIZE TABLE audit_events FINAL")
    for bars_max, bar_days in ((500, 1), (120, 7), (10, 13 * 7)):
        histogram = reader.histogram(account, bars_max=bars_max)
        assert histogram.bar_seconds == bar_days * 24 * 3600
        assert histogram.total == len(times)
        for bar in histogram.bars:
            start = micros_of(bar.start)
            end = start + histogram.bar_seconds * 1_000_000
            assert bar.events == sum(start <= time < end for time in times)
    assert histogram.since == datetime_of(min(times))
    assert histogram.until == datetime_of(max(times) + 1)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(shared_log: Log, reader: LogReader, text: str) -> None:
    """In every text column and through every filter; stored unchecked, as a hole in the rules would."""
    account = f"{text}{uuid4().hex}"
    entity = {"type": "license", "id": text, "name": text}
    event = shared_log.event(
        account_id=account,
        action=text,
        entity=entity,
        related=[{"type": text, "id": text, "name": text}],
        source={"service": text, "instance_id": text, "sequence": 1},
        actor={"type": text, "id": text, "name": text, "email": text, "impersonator_id": text},
        context={"ip": text, "user_agent": text, "request_id": text},
        changes=[
            {"field": text, "before": text, "after": None},
            {"field": text, "before": None, "after": text},
        ],
        metadata={text: text},
    )
    shared_log.store(event, shared_log.event(account_id=account))
    for asked in (
        EventFilter(actions=(text,)),
        EventFilter(actions=("other", text)),
        EventFilter(actor_id=text),
        EventFilter(entity_id=text),
        EventFilter(entity_id=text, entity_type="license"),
    ):
        assert [stored.event for stored in reader.timeline(account, asked).events] == [event], asked
    assert [stored.event for stored in reader.item(account, "license", text).events] == [event]
    assert reader.event(account, event.event_id).event == event
    assert reader.counts_by_action(account) == {text: 1, "license_updated": 1}
    assert reader.timeline(account, EventFilter(groups=(text,))).events == ()

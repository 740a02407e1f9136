"""Following a log from the ledger's end on: nothing is lost and nothing repeated."""

from __future__ import annotations

from uuid import UUID, uuid4

import pyarrow as pa
import pytest

from auditlog_schemas.errors import BadFilter
from auditlog_schemas.event import AuditEvent
from auditlog_storage import tail
from auditlog_storage.filters import EventFilter
from auditlog_storage.recorded import PARTITIONS_IN_CURSOR_MAX
from auditlog_storage.tail import LogTail, Tail
from storage.event_log import Log

pytestmark = pytest.mark.integration

ALL = EventFilter()


class Story:
    """Stores and records batches, and follows them."""

    def __init__(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tail, "ENDS_KEPT_SECONDS", 0.0)
        # A topic of its own.
        self.log = Log(log.connection, log.catalog)
        self.account = f"acc_{uuid4().hex}"
        self.tail = LogTail(log.connection)
        self.position = self.tail.after(self.account, ALL, None, 100).position
        self._next: dict[int, int] = {}
        self._waiting: dict[int, pa.RecordBatch] = {}

    def store(self, count: int, partition: int = 0, account: str | None = None) -> list[AuditEvent]:
        """Store a batch; it is not recorded yet."""
        events = [self.log.event(account_id=account or self.account) for _ in range(count)]
        first = self._next.get(partition, 0)
        self._next[partition] = first + count
        self._waiting[partition] = self.log.batch(events, partition, first)
        self.store_waiting(partition)
        return events

    def store_waiting(self, partition: int = 0) -> None:
        self.log.writer.insert(self._waiting[partition], token=uuid4().hex)

    def record(self, partition: int = 0) -> None:
        self.log.record(self._waiting.pop(partition))

    def look(self, filter: EventFilter = ALL, limit: int = 100) -> list[UUID]:
        found = self.tail.after(self.account, filter, self.position, limit)
        self.position = self.tail.opened(self.account, found.text)
        return ids(found)


def ids(found: Tail) -> list[UUID]:
    return [stored.event.event_id for stored, _ in found.events]


def ids_of(events: list[AuditEvent]) -> list[UUID]:
    return [event.event_id for event in events]


@pytest.fixture
def story(shared_log: Log, monkeypatch: pytest.MonkeyPatch) -> Story:
    return Story(shared_log, monkeypatch)


def test_an_event_comes_once_and_when_it_is_recorded(story: Story) -> None:
    events = story.store(3)
    assert story.look() == []
    story.record()
    assert story.look() == ids_of(events)
    assert story.look() == []


def test_other_accounts_events_move_the_position_and_are_not_shown(story: Story) -> None:
    before = story.position
    story.store(4, account="acc_other")
    story.record()
    assert story.look() == []
    assert story.position != before
    mine = story.store(1)
    story.record()
    assert story.look() == ids_of(mine)


def test_partitions_that_are_recorded_in_any_order_are_all_seen(story: Story) -> None:
    early, late = story.store(2, partition=0), story.store(2, partition=1)
    story.record(1)
    assert story.look() == ids_of(late)
    story.record()
    assert story.look() == ids_of(early)


def test_one_goes_on_behind_any_single_event(story: Story) -> None:
    events = [*story.store(3, partition=0), *story.store(3, partition=1)]
    story.record()
    story.record(1)
    found = story.tail.after(story.account, ALL, story.position, 100)
    assert ids(found) == ids_of(events)
    for number, (_, text) in enumerate(found.events):
        behind = story.tail.opened(story.account, text)
        assert ids(story.tail.after(story.account, ALL, behind, 100)) == ids_of(events[number + 1 :])


def test_much_comes_in_looks_of_bounded_size(story: Story) -> None:
    events = [*story.store(5, partition=0), *story.store(5, partition=1)]
    story.record()
    story.record(1)
    found = []
    while piece := story.look(limit=3):
        assert len(piece) <= 3
        found += piece
    assert found == ids_of(events)


def test_a_filter_lets_through_what_it_does_elsewhere_and_stops_nothing(story: Story) -> None:
    story.store(5)
    story.record()
    wanted = EventFilter(actions=("license_reset",))
    assert story.look(wanted, limit=2) == []
    found = story.tail.after(story.account, wanted, story.position, 2)
    assert found.more
    while story.tail.after(story.account, ALL, story.position, 100).events:
        story.look(wanted, limit=2)
    assert story.look(wanted) == []


def test_a_row_that_is_stored_twice_comes_once(story: Story) -> None:
    events = story.store(2)
    story.store_waiting()
    story.record()
    assert story.look() == ids_of(events)


@pytest.mark.parametrize("text", ["", "x", "nonsense", "AAAA====", "é", "AQGhIE", "A" * 120])
def test_a_text_that_is_no_position_is_refused(story: Story, text: str) -> None:
    with pytest.raises(BadFilter, match="last_event_id: "):
        story.tail.opened(story.account, text)


def test_a_position_of_another_account_is_refused(story: Story) -> None:
    text = story.tail.after(story.account, ALL, story.position, 1).text
    story.tail.opened(story.account, text)
    with pytest.raises(BadFilter, match="last_event_id: "):
        story.tail.opened(story.account + "x", text)


def test_another_process_goes_on_from_a_position(story: Story) -> None:
    text = story.tail.after(story.account, ALL, story.position, 1).text
    events = story.store(2)
    story.record()
    other = LogTail(story.log.connection)
    found = other.after(story.account, ALL, other.opened(story.account, text), 10)
    assert ids(found) == ids_of(events)


def test_with_many_partitions_a_text_names_the_accounts_own_and_loses_nothing(story: Story, log: Log) -> None:
    """Before and after the account's rows are in partitions that the text does not name."""
    story.log, story.tail = Log(log.connection, log.catalog), LogTail(log.connection)
    stranger = story.account + "x"
    for partition in range(PARTITIONS_IN_CURSOR_MAX + 10):
        story.store(2, partition, stranger)
        story.record(partition)
    story.store(1, partition=5)
    story.record(5)
    begun = story.tail.after(story.account, ALL, None, 10)
    assert len(begun.text) < 120
    assert story.tail.opened(story.account, begun.text).seen.ends.keys() == begun.position.seen.ends.keys()
    text, expected = begun.text, []
    for partition in (5, 9, 60, 9, 5):
        story.store(1, partition, stranger)
        story.record(partition)
        mine = story.store(2, partition)
        story.record(partition)
        # In this process, and in one that has the text alone.
        for position in (begun.position, story.tail.opened(story.account, text)):
            found = story.tail.after(story.account, ALL, position, 100)
            assert set(ids(found)) >= set(ids_of(mine))
            assert len(found.text) < 160
        assert ids(found) == ids_of(mine)
        text = found.events[0][1]
        assert ids(story.tail.after(story.account, ALL, story.tail.opened(story.account, text), 9)) == ids_of(
            mine[1:]
        )
        text = found.text
        expected += ids_of(mine)
    everything = story.tail.after(story.account, ALL, begun.position, 100)
    assert sorted(ids(everything)) == sorted(expected)

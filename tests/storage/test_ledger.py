from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

import auditlog_storage.ledger
from auditlog_schemas.errors import StorageRejected
from auditlog_storage.ledger import Gap, Ledger, Range
from storage.event_log import Log

NOW = datetime(2026, 3, 1, 12, 0, 0, 123_000, UTC)


def _range(first: int, last: int, topic_id: UUID | None = None, **fields: Any) -> Range:
    values: dict[str, Any] = {
        "topic": "audit.events",
        "topic_id": topic_id or UUID(int=1),
        "kafka_partition": 0,
        "first_offset": first,
        "last_offset": last,
        "accepted": last - first + 1,
        "rejected": 0,
        "duplicates": 0,
        "absent": 0,
        "consumer_group": "auditlog",
        "recorded_at": NOW,
    }
    return Range(**(values | fields))


def test_a_range_adds_up() -> None:
    assert _range(100, 109, accepted=4, rejected=3, duplicates=2, absent=1).next_offset == 110


@pytest.mark.parametrize(
    ("first", "last", "fields"),
    [
        (0, 9, {"accepted": 9}),
        (0, 9, {"rejected": 1}),
        (0, 9, {"accepted": 11, "rejected": -1}),
        (0, -1, {"accepted": 0}),
        (-1, 0, {}),
        (0, 0, {"kafka_partition": -1}),
    ],
)
def test_a_range_that_does_not_is_refused(first: int, last: int, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"add up|negative"):
        _range(first, last, **fields)


@pytest.mark.integration
class TestLedger:
    @pytest.fixture
    def ledger(self, shared_log: Log) -> Ledger:
        return Ledger(shared_log.connection)

    def test_what_is_appended_is_read(self, ledger: Ledger) -> None:
        topic_id = uuid4()
        assert ledger.next_offset(topic_id, 0) is None
        ranges = [
            _range(100, 199, topic_id, accepted=90, rejected=5, duplicates=3, absent=2),
            _range(200, 299, topic_id, accepted=0, absent=100, kind="lost"),
            _range(0, 9, topic_id, kafka_partition=1, recorded_at=NOW + timedelta(hours=1)),
        ]
        for range in ranges:
            ledger.append(range)
        assert list(ledger.ranges(topic_id)) == ranges
        assert list(ledger.ranges(topic_id, 1)) == ranges[2:]
        assert list(ledger.ranges(topic_id, since=NOW + timedelta(minutes=1))) == ranges[2:]
        assert list(ledger.ranges(uuid4())) == []
        assert ledger.next_offset(topic_id, 0) == 300
        assert ledger.next_offset(topic_id, 1) == 10
        assert ledger.next_offset(topic_id, 2) is None

    def test_appending_again_changes_nothing(self, ledger: Ledger) -> None:
        topic_id = uuid4()
        ledger.append(_range(0, 9, topic_id))
        ledger.append(_range(0, 9, topic_id, recorded_at=NOW + timedelta(seconds=3)))
        assert len(list(ledger.ranges(topic_id))) == 1

    def test_a_late_shorter_range_does_not_move_the_ledger_back(self, ledger: Ledger) -> None:
        topic_id = uuid4()
        ledger.append(_range(0, 9, topic_id))
        with pytest.raises(StorageRejected, match="holds another range"):
            ledger.append(_range(0, 4, topic_id))
        assert ledger.next_offset(topic_id, 0) == 10
        assert [(r.first_offset, r.last_offset) for r in ledger.ranges(topic_id)] == [(0, 9)]

    def test_the_furthest_range_is_whole(self, ledger: Ledger) -> None:
        topic_id = uuid4()
        assert ledger.furthest(topic_id, 0) is None
        last = _range(10, 19, topic_id, accepted=4, rejected=3, duplicates=2, absent=1, consumer_group="g2")
        for range in (_range(0, 9, topic_id), last, _range(50, 59, topic_id, kafka_partition=1)):
            ledger.append(range)
        ledger.append(_range(500, 509))
        assert ledger.furthest(topic_id, 0) == last
        assert ledger.furthest(topic_id, 2) is None

    def test_a_loss_may_be_the_furthest_range(self, ledger: Ledger) -> None:
        topic_id = uuid4()
        lost = _range(10, 19, topic_id, accepted=0, absent=10, kind="lost")
        for range in (_range(0, 9, topic_id), lost):
            ledger.append(range)
        assert ledger.furthest(topic_id, 0) == lost

    def test_gaps_are_found(self, ledger: Ledger) -> None:
        topic_id = uuid4()
        for first, last in [(10, 19), (20, 29), (35, 39), (40, 40), (50, 50)]:
            ledger.append(_range(first, last, topic_id))
        ledger.append(_range(500, 509, topic_id, kafka_partition=3))
        assert ledger.gaps(topic_id) == [Gap(0, 30, 34), Gap(0, 41, 49)]
        assert ledger.gaps(topic_id, 3) == []

    def test_an_overlap_is_no_gap(self, ledger: Ledger) -> None:
        topic_id = uuid4()
        for first, last in [(0, 99), (10, 19), (100, 109)]:
            ledger.append(_range(first, last, topic_id))
        assert ledger.gaps(topic_id) == []

    def test_long_ledgers_are_read_in_pages(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(auditlog_storage.ledger, "_PAGE_ROWS", 2)
        topic_id = uuid4()
        for partition in (0, 1):
            for first in (0, 10, 20):
                ledger.append(_range(first, first + 9, topic_id, kafka_partition=partition))
        found = [(r.kafka_partition, r.first_offset) for r in ledger.ranges(topic_id)]
        assert found == [(0, 0), (0, 10), (0, 20), (1, 0), (1, 10), (1, 20)]

"""What the protocol takes from ClickHouse: the model and the real engine pass the same tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from auditlog_schemas.errors import StorageRejected
from auditlog_storage.deadline import InsertTooLate
from auditlog_storage.ledger import Range
from simulated.contract_clickhouse import Storage, model_storage, real_storage
from simulated.payloads import payloads


@pytest.fixture(params=["model", pytest.param("real", marks=pytest.mark.integration)])
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    if request.param == "model":
        with model_storage() as made:
            yield made
    else:
        with real_storage(request.getfixturevalue("fresh_database")) as made:
            yield made


def recorded(storage: Storage, first: int, last: int, accepted: int) -> Range:
    return Range(
        topic="audit.events",
        topic_id=storage.topic_id,
        kafka_partition=0,
        first_offset=first,
        last_offset=last,
        accepted=accepted,
        rejected=last - first + 1 - accepted,
        duplicates=0,
        absent=0,
        consumer_group="auditlog",
        recorded_at=datetime(2026, 6, 1, tzinfo=UTC),
    )


def test_what_is_stored_is_read_back_by_offset(storage: Storage) -> None:
    assert storage.offsets() == []
    assert storage.stored.highest_offset(storage.topic_id, 0) is None
    storage.insert("a", 3, 1, 7)
    assert storage.offsets() == [1, 3, 7]
    assert storage.offsets(2, 6) == [3]
    assert storage.stored.highest_offset(storage.topic_id, 0, 3) == 7
    assert storage.stored.highest_offset(storage.topic_id, 0, 8) is None
    assert storage.stored.count(storage.topic_id, 0, 1, 3) == 2
    assert storage.offsets(last=1_000) == [1, 3, 7]
    ids = storage.stored.recent_ids(storage.topic_id, 0, 0, 10).to_pylist()
    order = [payloads("good")[place] for place in (1, 0, 2)]
    assert [(row["account_id"], row["event_id"]) for row in ids] == [
        (payload.account_id, payload.event_id) for payload in order
    ]
    assert storage.stored.count(storage.topic_id, 1, 0, 10) == 0


def test_a_token_stores_its_rows_once(storage: Storage) -> None:
    storage.insert("a", 0, 1, 2)
    storage.insert("a", 0, 1, 2)
    assert storage.offsets() == [0, 1, 2]
    storage.insert("b", 0, 1, 2)
    assert storage.offsets() == [0, 0, 1, 1, 2, 2]
    assert storage.stored.count(storage.topic_id, 0, 0, 10) == 3


def test_a_known_token_drops_other_rows_and_says_ok(storage: Storage) -> None:
    storage.insert("a", 0)
    storage.insert("a", 5)
    assert storage.offsets() == [0]


def test_a_token_is_known_in_the_parts_of_the_table_where_it_stored_something(storage: Storage) -> None:
    """The rows of different payloads lie in different engine partitions."""
    storage.insert("a", 1, first_payload=1)
    storage.insert("a", 0, 1, 2)
    assert storage.offsets() == [0, 1, 2]


def test_old_tokens_are_forgotten(storage: Storage) -> None:
    storage.set_window(4)
    storage.insert("a", 0)
    for number in range(3):
        storage.insert(f"b{number}", 10 + number)
    storage.insert("a", 0)
    assert storage.offsets() == [0, 10, 11, 12]
    # The window counts parts of the whole table.
    storage.insert("c", 20, 21, 22, 23)
    storage.insert("a", 0)
    assert storage.offsets(last=9) == [0, 0]


def test_an_insert_after_its_deadline_stores_nothing_and_leaves_its_token_free(storage: Storage) -> None:
    with pytest.raises(InsertTooLate):
        storage.insert("a", 0, 1, seconds=-0.5)
    assert storage.offsets() == []
    storage.insert("a", 0, 1, seconds=60)
    assert storage.offsets() == [0, 1]
    storage.insert("a", 0, 1, seconds=60)
    assert storage.offsets() == [0, 1]


def test_a_deadline_changes_nothing_about_the_token(storage: Storage) -> None:
    storage.insert("a", 0)
    storage.insert("a", 0, seconds=60)
    storage.insert("b", 1, seconds=60)
    storage.insert("b", 1)
    assert storage.offsets() == [0, 1]


def test_the_engines_clock_goes_on(storage: Storage) -> None:
    before = storage.writer.engine_now()
    assert before.tzinfo is not None
    storage.insert("a", 0)
    assert storage.writer.engine_now() >= before


def test_the_ledger_keeps_what_is_appended(storage: Storage) -> None:
    assert storage.ledger.furthest(storage.topic_id, 0) is None
    for each in (recorded(storage, 0, 9, 10), recorded(storage, 10, 14, 4)):
        storage.ledger.append(each)
        storage.ledger.append(each)
        assert storage.ledger.furthest(storage.topic_id, 0) == each
    assert storage.ledger.next_offset(storage.topic_id, 0) == 15
    assert storage.ledger.furthest(storage.topic_id, 1) is None


def test_a_ledger_row_after_its_deadline_is_not_recorded(storage: Storage) -> None:
    now, range = storage.writer.engine_now(), recorded(storage, 0, 9, 10)
    with pytest.raises(InsertTooLate):
        storage.ledger.append(range, now - timedelta(seconds=0.5))
    assert storage.ledger.furthest(storage.topic_id, 0) is None
    storage.ledger.append(range, now + timedelta(seconds=60))
    assert storage.ledger.furthest(storage.topic_id, 0) == range


def test_of_two_ledger_rows_with_one_start_the_longer_stays(storage: Storage) -> None:
    longer, shorter = recorded(storage, 0, 9, 10), recorded(storage, 0, 4, 5)
    storage.ledger.append(longer)
    with pytest.raises(StorageRejected):
        storage.ledger.append(shorter)
    assert storage.ledger.furthest(storage.topic_id, 0) == longer
    longest = recorded(storage, 0, 19, 20)
    storage.ledger.append(longest)
    assert storage.ledger.furthest(storage.topic_id, 0) == longest


def test_of_two_ledger_rows_of_one_range_the_later_stays(storage: Storage) -> None:
    storage.ledger.append(recorded(storage, 0, 9, 10))
    later = replace(recorded(storage, 0, 9, 9), consumer_group="other")
    storage.ledger.append(later)
    assert storage.ledger.furthest(storage.topic_id, 0) == later

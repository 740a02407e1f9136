"""Reading back: which rows are not stored, and what stored rows contradict the batch."""

from __future__ import annotations

from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog_consumer.partition import Partition
from auditlog_consumer.read_back import read_back
from auditlog_schemas.errors import TerminalError
from kit.events import make_record
from kit.row_oracle import Accepted, rows_of

PARTITION = Partition("audit.events", UUID(int=7), 0)


def rows_at(offsets: list[int]) -> pa.RecordBatch:
    return rows_of(PARTITION, [Accepted(make_record(event_id=str(UUID(int=o))), o, 0) for o in offsets])


def stored_at(pairs: list[tuple[int, int]]) -> pa.Table:
    return pa.table(
        {
            "kafka_offset": pa.array([offset for offset, _ in pairs], pa.int64()),
            "event_id": pa.array([UUID(int=number).bytes for _, number in pairs], pa.binary()),
        }
    )


def test_nothing_stored_means_all_are_missing() -> None:
    rows = rows_at([5, 6, 8])
    assert read_back(rows, frozenset(), stored_at([])).missing is rows


def test_all_stored_means_none_is_missing() -> None:
    back = read_back(rows_at([5, 6, 8]), {7}, stored_at([(5, 5), (6, 6), (8, 8)]))
    assert (back.missing.num_rows, back.stored, back.others, back.twice) == (0, 3, frozenset(), ())


def test_some_stored_leaves_the_others_in_order() -> None:
    missing = read_back(rows_at([5, 6, 8, 9]), frozenset(), stored_at([(6, 6), (9, 9)])).missing
    assert missing.column("kafka_offset").to_pylist() == [5, 8]


def test_a_row_stored_twice_is_not_missing() -> None:
    back = read_back(rows_at([5, 6]), frozenset(), stored_at([(5, 5), (5, 5), (6, 6), (6, 6), (6, 6)]))
    assert (back.missing.num_rows, back.stored, back.twice) == (0, 2, (5, 6))


def test_another_event_at_an_offset_stops() -> None:
    with pytest.raises(TerminalError, match="offset 6: ClickHouse stores another event"):
        read_back(rows_at([5, 6]), frozenset(), stored_at([(5, 5), (6, 66)]))


@pytest.mark.parametrize("offset", [4, 7, 99])
def test_an_event_where_the_batch_has_none_stops(offset: int) -> None:
    with pytest.raises(TerminalError, match=f"offset {offset}: ClickHouse stores an event"):
        read_back(rows_at([5, 6, 8]), {10}, stored_at([(offset, offset)]))


def test_a_rejected_message_that_is_stored_is_reported() -> None:
    """Rules became stricter between the insert and the ledger row: the row stands, it is no contradiction."""
    back = read_back(rows_at([5, 8]), {6, 7}, stored_at([(5, 5), (6, 66)]))
    assert back.missing.column("kafka_offset").to_pylist() == [8]
    assert back.others == {6}
    assert back.stored == 2


def test_rows_stored_where_the_batch_makes_none() -> None:
    back = read_back(rows_at([]), {6, 7}, stored_at([(6, 66), (7, 77)]))
    assert (back.missing.num_rows, back.stored, back.others) == (0, 2, frozenset({6, 7}))


def test_a_slice_of_rows_is_compared_by_its_own_ids() -> None:
    rows = rows_at(list(range(20)))
    back = read_back(rows.slice(7, 5), frozenset(), stored_at([(8, 8), (11, 11)]))
    assert back.missing.column("kafka_offset").to_pylist() == [7, 9, 10]
    with pytest.raises(TerminalError, match="offset 8: ClickHouse stores another event"):
        read_back(rows.slice(7, 5), frozenset(), stored_at([(8, 1)]))


@given(
    st.sets(st.integers(0, 60), max_size=30),
    st.sets(st.integers(0, 60), max_size=20),
    st.lists(st.integers(0, 200), max_size=40),
)
def test_it_says_what_sets_say(wanted: set[int], dropped: set[int], picks: list[int]) -> None:
    dropped -= wanted
    able = sorted(wanted | dropped)
    found = sorted(able[pick % len(able)] for pick in picks) if able else []
    back = read_back(rows_at(sorted(wanted)), dropped, stored_at([(at, at) for at in found]))
    assert back.missing.column("kafka_offset").to_pylist() == sorted(wanted - set(found))
    assert back.stored == len(set(found))
    assert back.others == set(found) & dropped
    assert list(back.twice) == sorted({at for at in found if found.count(at) > 1})

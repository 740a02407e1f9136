"""Dividing a batch: the first of equal events is accepted, its copies are not; the window stays as it is."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from auditlog_consumer.divide import Divided, divide
from auditlog_consumer.judge import Rejection, Verdicts
from auditlog_consumer.partition import Partition
from auditlog_consumer.window import Window, keys_of
from auditlog_schemas.errors import UnknownAction
from kit.events import make_record
from kit.row_oracle import Accepted, rows_of

PARTITION = Partition("audit.events", UUID(int=7), 0)
EVENTS = [
    make_record(event_id=str(UUID(int=number // 2)), account_id=f"acc_{number % 2}") for number in range(12)
]
"""Each id in two accounts: those are different events."""


def verdicts(first: int, events: list[int | None]) -> Verdicts:
    """Return a judged batch: an accepted event by number at each offset, or None for a rejected message."""
    accepted = [
        Accepted(EVENTS[number], first + place, 0)
        for place, number in enumerate(events)
        if number is not None
    ]
    rejected = tuple(
        Rejection(first + place, 0, None, b"x", UnknownAction("unknown_action", "action", "eaten"))
        for place, number in enumerate(events)
        if number is None
    )
    return Verdicts(PARTITION, first, first + len(events) - 1, 0, rows_of(PARTITION, accepted), rejected)


def window_of(size: int, first: int, events: list[int | None]) -> Window:
    window, batch = Window(size), verdicts(first, events)
    keys = keys_of(batch.rows.column("account_id"), batch.rows.column("event_id"))
    offsets = batch.rows.column("kafka_offset").to_numpy()
    window.extend(keys, offsets, first, batch.last_offset)
    return window


def dropped(divided: Divided) -> set[int]:
    return {offset for offset in range(100) if offset in divided.dropped_offsets}


def test_without_copies_the_rows_are_those_that_were_judged() -> None:
    batch = verdicts(10, [0, 1, None, 2])
    divided = divide(batch, Window(8), 8)
    assert divided.rows is batch.rows
    assert divided.verdicts is batch
    assert divided.duplicate_offsets == ()
    assert dropped(divided) == {12}
    assert divided.offsets.tolist() == [10, 11, 13]


def test_copies_within_the_batch_and_of_the_window() -> None:
    window = window_of(8, 10, [0, 1, None, 2])
    divided = divide(verdicts(14, [3, 1, None, 3, 0, 4]), window, 8)
    assert divided.duplicate_offsets == (15, 17, 18)
    assert dropped(divided) == {15, 16, 17, 18}
    assert divided.offsets.tolist() == [14, 19]
    assert divided.rows.column("kafka_offset").to_pylist() == [14, 19]


def test_a_replay_looks_back_as_far_as_was_announced() -> None:
    window = window_of(8, 10, [0, 1, 2, 3])
    batch = verdicts(14, [0, 1, 2, 3])
    found = [divide(batch, window, reach).duplicate_offsets for reach in (0, 1, 3, 4, 8)]
    assert found == [(), (17,), (15, 16, 17), (14, 15, 16, 17), (14, 15, 16, 17)]


def test_a_batch_of_nothing_but_rejected_messages() -> None:
    divided = divide(verdicts(5, [None, None]), window_of(8, 0, [0, 1, 2, 3, 4]), 8)
    assert divided.rows.num_rows == 0
    assert dropped(divided) == {5, 6}
    assert divided.keys.shape == (0, 2)


def test_dictionary_encoded_accounts_are_the_same() -> None:
    """As `to_rows` makes them."""
    batch = verdicts(4, [0, 1, 0, 2])
    accounts = batch.rows.column("account_id").dictionary_encode()
    rows = batch.rows.set_column(batch.rows.schema.names.index("account_id"), "account_id", accounts)
    encoded = Verdicts(PARTITION, 4, 7, 0, rows, ())
    window = window_of(8, 0, [2, 3, 4, 5])
    assert (
        divide(encoded, window, 8).duplicate_offsets == divide(batch, window, 8).duplicate_offsets == (6, 7)
    )


@given(
    st.lists(st.none() | st.integers(0, 11), min_size=1, max_size=20),
    st.lists(st.none() | st.integers(0, 11), min_size=1, max_size=20),
    st.integers(0, 20),
)
def test_it_divides_as_a_set_does(before: list[int | None], events: list[int | None], reach: int) -> None:
    window, batch = window_of(20, 0, before), verdicts(len(before), events)
    known = {number for number in before[max(len(before) - reach, 0) :] if number is not None}
    duplicates, kept = list[int](), list[int]()
    for offset, number in enumerate(events, len(before)):
        if number is None:
            continue
        (duplicates if number in known else kept).append(offset)
        known.add(number)
    for _ in range(2):
        divided = divide(batch, window, reach)
        assert list(divided.duplicate_offsets) == duplicates
        assert divided.offsets.tolist() == kept
        rows = divided.rows
        assert rows.column("kafka_offset").to_pylist() == kept
        assert np.array_equal(divided.keys, keys_of(rows.column("account_id"), rows.column("event_id")))
        wanted = [offset in kept for offset in batch.rows.column("kafka_offset").to_pylist()]
        assert rows.equals(batch.rows.filter(pa.array(wanted, pa.bool_())))

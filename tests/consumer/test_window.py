"""The window against a plain dictionary: whatever comes, it calls the same events copies."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog_consumer import window as window_module
from auditlog_consumer.window import Keys, Window, keys_of


def key(number: int) -> tuple[int, int]:
    """Return an event's key; none is all zeros, which stands for no event in the window."""
    return (number * 0x9E3779B97F4A7C15 % (1 << 64), number + 1)


def keys(numbers: list[int]) -> Keys:
    return np.array([key(number) for number in numbers], np.uint64).reshape(-1, 2)


@dataclass
class Oracle:
    """The events accepted so far, each with its latest offset."""

    latest: dict[int, int] = field(default_factory=dict)

    def duplicates(self, numbers: list[int], first_offset: int, offsets_max: int) -> list[bool]:
        known = [first_offset - self.latest.get(number, -(1 << 62)) <= offsets_max for number in numbers]
        return [known[place] or number in numbers[:place] for place, number in enumerate(numbers)]

    def extend(self, numbers: list[int], offsets: list[int]) -> None:
        self.latest |= dict(zip(numbers, offsets, strict=True))


@dataclass(frozen=True)
class Step:
    """A batch: at each offset an event by number, or None for an offset without an accepted message."""

    events: list[int | None]
    offsets_max: int
    fails: bool


STARTS = st.sampled_from(
    [0, 1, 1_000, (1 << 32) - 70, (1 << 32) - 1, (1 << 32) + 3, (1 << 40) - 20, (1 << 63) - 9_999]
)


def steps(events_max: int, reach_max: int) -> st.SearchStrategy[list[Step]]:
    # Few different events, so that most of them come again.
    event = st.none() | st.integers(0, events_max)
    step = st.builds(Step, st.lists(event, max_size=24), st.integers(0, reach_max), st.booleans())
    return st.lists(step, max_size=24)


def run(size: int, start: int, batches: list[Step]) -> None:
    """Treat batches as the consumer does: look for copies, and add what is no copy once it is recorded."""
    window, oracle, first = Window(size), Oracle(), start
    for step in batches:
        at = [(number, first + place) for place, number in enumerate(step.events) if number is not None]
        numbers = [number for number, _ in at]
        reach = min(step.offsets_max, size)
        found = window.duplicates(keys(numbers), first, reach).tolist()
        assert found == oracle.duplicates(numbers, first, reach)
        if step.fails or not step.events:
            continue
        kept = [pair for pair, copy in zip(at, found, strict=True) if not copy]
        last = first + len(step.events) - 1
        offsets = [offset for _, offset in kept]
        window.extend(keys([number for number, _ in kept]), np.array(offsets, np.int64), first, last)
        oracle.extend([number for number, _ in kept], offsets)
        first = last + 1


@given(st.integers(1, 40), STARTS, steps(events_max=30, reach_max=40))
@settings(max_examples=300)
def test_a_small_window_that_wraps_round(size: int, start: int, batches: list[Step]) -> None:
    run(size, start, batches)


@given(STARTS, steps(events_max=200, reach_max=300))
def test_a_window_larger_than_all_there_is(start: int, batches: list[Step]) -> None:
    run(300, start, batches)


@given(st.integers(1, 20), STARTS, steps(events_max=15, reach_max=20))
@settings(max_examples=50)
def test_all_events_in_one_chain(size: int, start: int, batches: list[Step]) -> None:
    """As if every hash were the same: only the keys tell events apart."""
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(window_module, "_MIX", (np.uint64(0), np.uint64(0)))
        run(size, start, batches)


def test_a_batch_longer_than_the_window() -> None:
    window = Window(4)
    window.extend(keys(list(range(100))), np.arange(100, dtype=np.int64), 0, 99)
    assert window.duplicates(keys([95, 96, 99, 100]), 100, 4).tolist() == [False, True, True, False]


def test_long_chains_that_were_added_at_once_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chains: of the events with even and with odd numbers."""
    monkeypatch.setattr(window_module, "_MIX", (np.uint64(0), np.uint64(1 << 63)))
    window, numbers = Window(1_000), [number * number % 1_009 for number in range(1, 505)]
    numbers += [number for number in range(1_009) if number not in numbers][:496]
    window.extend(keys(numbers), np.arange(1_000, dtype=np.int64), 0, 999)
    assert window.duplicates(keys(numbers), 1_000, 1_000).all()
    nearest = window.duplicates(keys(numbers), 1_000, 10)
    assert np.flatnonzero(nearest).tolist() == list(range(990, 1_000))


def test_offsets_without_an_event_push_old_events_out() -> None:
    window = Window(8)
    window.extend(keys([1]), np.array([0], np.int64), 0, 0)
    window.extend(keys([]), np.array([], np.int64), 1, 7)
    assert window.duplicates(keys([1]), 8, 8).tolist() == [True]
    window.extend(keys([]), np.array([], np.int64), 8, 8)
    assert window.duplicates(keys([1]), 9, 8).tolist() == [False]


def test_a_range_that_was_lost_counts_as_distance() -> None:
    window = Window(8)
    window.extend(keys([1]), np.array([0], np.int64), 0, 0)
    window.extend(keys([]), np.array([], np.int64), 1, 1_000_000)
    assert window.duplicates(keys([1]), 1_000_001, 8).tolist() == [False]


def test_the_first_of_equals_is_no_copy() -> None:
    numbers = [3, 1, 3, 2, 1, 3]
    assert Window(1).duplicates(keys(numbers), 0, 1).tolist() == [False, False, True, False, True, True]


def test_equal_hashes_in_a_batch_are_no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_module, "_MIX", (np.uint64(0), np.uint64(0)))
    batch = np.array([[1, 5], [2, 5], [1, 5], [2, 6]], np.uint64)
    assert Window(1).duplicates(batch, 0, 1).tolist() == [False, False, True, False]


def test_an_empty_batch_has_no_copies() -> None:
    window = Window(4)
    assert window.duplicates(keys([]), 0, 4).tolist() == []
    window.extend(keys([1]), np.array([0], np.int64), 0, 0)
    assert window.duplicates(keys([]), 1, 4).tolist() == []


ACCOUNTS = ["acc_1", "acc_2", "acc_1", "ä" * 40, "acc_3"]
IDS = [uuid.UUID(int=number << 64 | number + 1) for number in (1, 1, 2, 3, 3)]


def event_ids(ids: list[uuid.UUID]) -> pa.Array[Any]:
    return pa.array([each.bytes for each in ids], pa.binary(16))


def test_keys_do_not_depend_on_the_arrays_form() -> None:
    plain, ids = pa.array(ACCOUNTS), event_ids(IDS)
    expected = keys_of(plain, ids).tolist()
    assert len({tuple(each) for each in expected}) == 5
    assert keys_of(plain.dictionary_encode(), ids).tolist() == expected
    reordered = pa.DictionaryArray.from_arrays(
        pa.array([2, 1, 2, 0, 3], pa.int32()), pa.array([ACCOUNTS[3], "acc_2", "acc_1", "acc_3", "unused"])
    )
    assert keys_of(reordered, ids).tolist() == expected
    assert keys_of(plain.cast(pa.large_string()), ids).tolist() == expected
    assert keys_of(plain, ids.cast(pa.binary())).tolist() == expected


@pytest.mark.parametrize(("start", "length"), [(0, 2), (1, 3), (4, 1), (2, 0), (5, 0)])
def test_keys_of_slices_are_slices_of_keys(start: int, length: int) -> None:
    plain, ids = pa.array(ACCOUNTS), event_ids(IDS)
    expected = keys_of(plain, ids).tolist()[start : start + length]
    for accounts in (plain, plain.dictionary_encode()):
        assert keys_of(accounts.slice(start, length), ids.slice(start, length)).tolist() == expected


@pytest.mark.parametrize("type", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_keys_of_nothing(type: pa.DataType) -> None:
    empty = pa.array([], pa.binary(16))
    assert keys_of(pa.array([], type), empty).shape == (0, 2)
    owning = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), 0, [None, pa.py_buffer(b"\0" * 4)])
    assert keys_of(pa.array([], type), owning).shape == (0, 2)
    rows = pa.record_batch({"account_id": pa.array(["a"], pa.string()), "event_id": event_ids(IDS[:1])})
    none = rows.filter(pa.array([False]))
    assert keys_of(none.column("account_id"), none.column("event_id")).shape == (0, 2)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=30),
    st.integers(0, 30),
    st.booleans(),
)
def test_keys_are_equal_exactly_when_account_and_id_are(
    pairs: list[tuple[str, int]], cut: int, encoded: bool
) -> None:
    accounts: Any = pa.array([account for account, _ in pairs], pa.string())
    accounts = accounts.dictionary_encode() if encoded else accounts
    ids = event_ids([uuid.UUID(int=number) for _, number in pairs])
    found = [tuple(each) for each in keys_of(accounts.slice(cut), ids.slice(cut)).tolist()]
    left = pairs[cut:]
    assert [found.index(each) for each in found] == [left.index(each) for each in left]

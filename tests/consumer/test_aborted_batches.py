"""What is taken out of a log: batches of aborted transactions, and the marks at the end of each."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog_consumer.fetch.batches import record_batches, take_apart, without_aborted
from kit.record_batches import CONTROL, TRANSACTIONAL, Head, Record, record_batch, told


@dataclass
class Transactions:
    """Batches of several producers.

    Attributes:
        aborted: producer, first offset and offset of the marker.
    """

    batches: list[bytes] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    aborted: list[tuple[int, int, int]] = field(default_factory=list)
    committed: list[int] = field(default_factory=list)
    end: int = 0

    def add(self, producer: int, records: Sequence[Record], attributes: int) -> range:
        head = Head(base=self.end, producer_id=producer, attributes=attributes)
        self.batches.append(record_batch(records, "none", head))
        self.firsts.append(self.end)
        self.end += len(records)
        return range(self.firsts[-1], self.end)


@st.composite
def transactions(draw: st.DrawFn) -> Transactions:
    made, open_ones = Transactions(), dict[int, list[int]]()
    for _ in range(draw(st.integers(1, 25))):
        producer = draw(st.integers(0, 3))
        step = draw(st.sampled_from(["plain", "more", "more", "commit", "abort"]))
        records = [Record(b"v")] * draw(st.integers(1, 3))
        if step == "plain":
            # Of a producer without transactions, or before its first one.
            made.committed += made.add(producer, records, 0)
        elif step == "more":
            open_ones.setdefault(producer, []).extend(made.add(producer, records, TRANSACTIONAL))
        elif producer in open_ones:
            offsets, committed = open_ones.pop(producer), step == "commit"
            marker = Record(struct.pack(">hi", 0, 0), struct.pack(">hh", 0, int(committed)))
            [at] = made.add(producer, [marker], TRANSACTIONAL | CONTROL)
            if committed:
                made.committed += offsets
            else:
                made.aborted.append((producer, offsets[0], at))
    # Kafka sends nothing behind the first transaction that is still open.
    made.end = min((offsets[0] for offsets in open_ones.values()), default=made.end)
    return made


@settings(max_examples=300)
@given(made=transactions(), skipped=st.integers(0, 10))
def test_nothing_of_aborted_transactions_and_all_of_the_others_comes(
    made: Transactions, skipped: int
) -> None:
    sent = [(batch, at) for batch, at in zip(made.batches, made.firsts, strict=True) if at < made.end][
        skipped:
    ]
    first = sent[0][1] if sent else made.end
    # The broker lists those that reach into what it sends.
    aborted = [(producer, at) for producer, at, end in made.aborted if end >= first and at < made.end]
    found = list(record_batches(memoryview(b"".join(batch for batch, _ in sent))))
    parts = take_apart(list(without_aborted(found, aborted)), 0)
    offsets = [message[0] for message in told(list(parts))]
    assert offsets == [offset for offset in sorted(made.committed) if first <= offset < made.end]


@pytest.mark.parametrize("key", [b"", b"\0", b"\0\0\0", None])
def test_a_marker_that_is_none_ends_no_aborted_transaction(key: bytes | None) -> None:
    head = Head(producer_id=7, attributes=TRANSACTIONAL | CONTROL)
    marker = record_batch([Record(b"", key)], "none", head)
    later = record_batch([Record(b"v")], "none", Head(base=1, producer_id=7, attributes=TRANSACTIONAL))
    found = list(record_batches(memoryview(marker + later)))
    assert list(without_aborted(found, [(7, 0)])) == []

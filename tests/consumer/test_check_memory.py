"""The parts of the check that keep memory bounded: sorted runs of letters, windows, a bounded report."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from uuid import UUID, uuid4

import numpy as np

from auditlog_consumer.check.letter_offsets import LetterOffsets
from auditlog_consumer.check.letters import source_of
from auditlog_consumer.check.partition_check import PartitionCheck
from auditlog_consumer.check.recorded import Recorded, Span
from auditlog_consumer.check.report import FINDINGS_MAX, Report
from auditlog_consumer.check.stored_offsets import StoredOffsets, Window


def test_letters_beyond_the_bound_are_found_in_their_runs() -> None:
    random, topic_id = Random(7), uuid4()
    wanted: dict[int, set[int]] = {0: set(), 1: set()}
    with LetterOffsets(held_max=50) as letters:
        for _ in range(1_000):
            partition, offset = random.randrange(2), random.randrange(2_000)
            letters.add(topic_id, partition, offset, offset)
            wanted[partition].add(offset)
        for _ in range(50):
            partition = random.randrange(2)
            first, last = sorted(random.sample(range(2_000), 2))
            found = letters.between(topic_id, partition, first, last).tolist()
            assert found == sorted(each for each in wanted[partition] if first <= each <= last)
        letters.add(topic_id, 1, 5_000, 5_000)
        assert letters.between(topic_id, 1, 4_000, 6_000).tolist() == [5_000]
        letters.add(topic_id, 1, 5_998, 7_000)
        assert letters.between(topic_id, 1, 4_000, 6_000).tolist() == [5_000, 5_998, 5_999, 6_000]
        assert letters.between(topic_id, 1, 6_999, 9_000).tolist() == [6_999, 7_000]
        assert letters.between(uuid4(), 0, 0, 9_999).tolist() == []
        assert letters.between(topic_id, 7, 0, 9_999).tolist() == []


def test_a_report_keeps_so_many_findings_and_counts_all() -> None:
    report = Report()
    for number in range(FINDINGS_MAX + 5):
        report.add("error", "missing_rows", "x", partition=0, first=number, last=number)
    assert (len(report.findings), report.errors, report.omitted) == (FINDINGS_MAX, FINDINGS_MAX + 5, 5)
    assert not report.ok


class Letter:
    """A message of the dead-letter topic."""

    def __init__(self, **headers: bytes) -> None:
        self._headers = list(headers.items())

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers


def test_the_source_of_a_letter() -> None:
    topic_id = uuid4()
    headers = {"source_topic_id": str(topic_id).encode(), "source_partition": b"3", "source_offset": b"17"}
    assert source_of(Letter(**headers)) == (topic_id, 3, 17, 17)
    assert source_of(Letter(**headers, replayed=b"1")) is None
    furthest = {"source_partition": str((1 << 31) - 1).encode(), "source_offset": str((1 << 63) - 1).encode()}
    assert source_of(Letter(**headers | furthest)) == (topic_id, (1 << 31) - 1, *2 * [(1 << 63) - 1])
    assert source_of(Letter(**headers, source_last_offset=b"19")) == (topic_id, 3, 17, 19)
    assert source_of(Letter(**headers, pieces=b"3", piece=b"2")) == (topic_id, 3, 17, 17)
    assert source_of(Letter(**headers, pieces=b"3", piece=b"1")) is None
    for name, value in (
        ("source_last_offset", b"16"),
        ("source_last_offset", str(17 + (1 << 18)).encode()),
        ("source_topic_id", b"none"),
        ("source_topic_id", b"\xff"),
        ("source_partition", b"-1"),
        ("source_partition", b"9" * 30),
        ("source_partition", str(1 << 31).encode()),
        ("source_offset", str(1 << 63).encode()),
        ("source_offset", b""),
        ("source_offset", b"9" * 30),
        ("source_offset", "\u00b2".encode()),
    ):
        assert source_of(Letter(**headers | {name: value})) is None
    assert source_of(Letter()) is None


class Stored(StoredOffsets):
    """Offsets of the test's own, in windows of ten offsets."""

    def __init__(self, copies: dict[int, int]) -> None:
        self._copies = copies

    def windows(self, first: int, last: int) -> Iterator[Window]:
        for start in range(first, last + 1, 10):
            end = min(last, start + 9)
            found = sorted(offset for offset in self._copies if start <= offset <= end)
            counts = [self._copies[offset] for offset in found]
            yield Window(start, end, np.array(found, np.int64), np.array(counts, np.int64))

    def rows(self, first: int, last: int) -> int:
        return sum(count for offset, count in self._copies.items() if first <= offset <= last)


def checked(
    pages: list[list[tuple[int, int, int, int, int, int]]],
    stored: dict[int, int],
    lettered: tuple[int, ...] = (),
) -> list[tuple[str, int, int]]:
    """Check ranges (first, last, accepted, rejected, duplicates, absent), page by page."""
    topic_id, report = UUID(int=1), Report()
    ranges = [each for page in pages for each in page]
    span = Span(topic_id, 0, ranges[0][0], ranges[0][0], max(each[1] for each in ranges))
    with LetterOffsets() as letters:
        for offset in lettered:
            letters.add(topic_id, 0, offset, offset)
        run = PartitionCheck(report, span, Stored(stored), letters)
        run.check_start()
        for page in pages:
            run.check_page([Recorded(*each, "committed", "g") for each in page])
        run.check_groups()
    return [(each.kind, each.first_offset, each.last_offset) for each in report.findings]


def whole(first: int, last: int) -> dict[int, int]:
    return dict.fromkeys(range(first, last + 1), 1)


def test_ranges_are_whole_across_windows_and_pages() -> None:
    pages = [[(0, 24, 25, 0, 0, 0), (25, 26, 2, 0, 0, 0)], [(27, 99, 73, 0, 0, 0)]]
    assert checked(pages, whole(0, 99)) == []
    assert checked(pages, whole(0, 98)) == [("missing_rows", 27, 99)]


def test_a_gap_between_pages_is_looked_into() -> None:
    pages = [[(0, 9, 10, 0, 0, 0)], [(20, 29, 10, 0, 0, 0)]]
    stored = whole(0, 9) | whole(20, 29)
    assert checked(pages, stored) == [("ledger_gap", 10, 19)]
    assert checked(pages, stored | {13: 1, 15: 2}, (16,)) == [
        ("ledger_gap", 10, 19),
        ("stored_twice", 15, 15),
        ("uncovered_rows", 13, 15),
        ("surplus_letters", 16, 16),
    ]


def test_an_overlap_between_pages_is_one_finding() -> None:
    pages = [[(0, 9, 10, 0, 0, 0)], [(8, 19, 12, 0, 0, 0)]]
    assert checked(pages, whole(0, 19)) == [("ledger_overlap", 8, 9)]


def test_what_lies_below_the_first_range() -> None:
    assert checked([[(5, 9, 5, 0, 0, 0)]], whole(0, 9), (3,)) == [
        ("uncovered_rows", 0, 4),
        ("surplus_letters", 0, 4),
    ]


def test_letters_that_rules_of_two_tries_explain() -> None:
    assert checked([[(0, 9, 9, 1, 0, 0)]], whole(0, 8), (9,)) == []
    assert checked([[(0, 9, 9, 1, 0, 0)]], whole(0, 8), (8, 9)) == [], "8: a letter, then a row"
    assert checked([[(0, 9, 8, 1, 1, 0)]], whole(0, 7), (8, 9)) == [], "8: a letter, then a duplicate"
    assert checked([[(0, 9, 8, 1, 0, 1)]], whole(0, 7), (8, 9)) == [("surplus_letters", 0, 9)]
    assert checked([[(0, 9, 9, 1, 0, 0)]], whole(0, 8), (8,)) == [("missing_letters", 0, 9)]

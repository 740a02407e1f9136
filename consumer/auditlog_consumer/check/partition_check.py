"""Checking one partition: its ranges against each other, its rows and its letters against its ranges."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from auditlog_consumer.check.letter_offsets import LetterOffsets
from auditlog_consumer.check.recorded import Recorded, Span
from auditlog_consumer.check.report import Kind, Report, Severity
from auditlog_consumer.check.stored_offsets import StoredOffsets

Longs: TypeAlias = npt.NDArray[np.int64]

PLACES_NAMED_MAX: Final = 10
"""Places of one range that are named; more are counted."""


class PartitionCheck:
    """Checks the ranges of one partition in the order of their offsets.

    Args:
        report: where findings and counts go.
        span: which part of which partition.
        stored, letters: what is stored and dead-lettered.
    """

    def __init__(self, report: Report, span: Span, stored: StoredOffsets, letters: LetterOffsets) -> None:
        self._report = report
        self._span = span
        self._stored = stored
        self._letters = letters
        self._before: Recorded | None = None
        self._groups: list[str] = []

    def check_start(self) -> None:
        """Look for rows and letters below the first recorded offset."""
        start = self._span.start
        if start <= 0 or self._span.first != start:
            return
        rows = self._stored.rows(0, start - 1)
        if rows:
            self._error(
                "uncovered_rows", 0, start - 1, f"{rows} rows are stored below the first recorded offset"
            )
        letters = len(self._letters.between(self._span.topic_id, self._span.partition, 0, start - 1))
        if letters:
            self._error(
                "surplus_letters", 0, start - 1, f"{letters} dead letters are below the first recorded offset"
            )

    def check_page(self, page: list[Recorded]) -> None:
        """Check some ranges that follow those checked so far."""
        first = self._before.last + 1 if self._before else page[0].first
        for each in page:
            self._check_range(each)
            self._before = each
        tally = _Tally(page)
        for window in self._stored.windows(min(first, page[0].first), max(each.last for each in page)):
            letters = self._letters.between(
                self._span.topic_id, self._span.partition, window.first, window.last
            )
            tally.add(window.offsets, letters)
            self._check_copies(window.offsets, window.copies)
            self._check_uncovered(tally, window.offsets, letters)
        for place, each in enumerate(page):
            self._check_rows(each, int(tally.rows[place]))
            self._check_letters(
                each, int(tally.letters[place]), int(tally.stored_letters[place]), int(tally.rows[place])
            )

    def check_groups(self) -> None:
        """Report ranges that were recorded by several consumer groups; call it after the last page."""
        names = self._groups
        if len(names) < 2:
            return
        taken_turns = len(set(names)) < len(names)
        message = (
            f"the consumer groups {', '.join(sorted(set(names)))} took turns in recording these ranges: two "
            "consumers with different groups work on one table"
            if taken_turns
            else f"the consumer group changed: {', then '.join(names)}"
        )
        severity: Severity = "error" if taken_turns else "warning"
        self._add(severity, "ledger_groups", self._span.first, self._span.last, message)

    def _check_range(self, each: Recorded) -> None:
        report = self._report
        report.ranges += 1
        report.accepted += each.accepted
        report.rejected += each.rejected
        report.duplicates += each.duplicates
        report.absent += each.absent
        counts = (each.accepted, each.rejected, each.duplicates, each.absent)
        if each.last - each.first + 1 != sum(counts) or min(counts) < 0:
            message = "the ledger's counts do not add up to the range's offsets"
            self._error("ledger_sums", each.first, each.last, message)
        if each.kind == "lost":
            report.lost += each.last - each.first + 1
            message = "lost: Kafka's retention deleted these before they were read"
            self._error("lost", each.first, each.last, message)
        if len(self._groups) <= PLACES_NAMED_MAX and each.group not in self._groups[-1:]:
            self._groups.append(each.group)
        before = self._before
        if before is None:
            return
        if each.first > before.last + 1:
            message = "no range of the ledger covers these offsets"
            self._error("ledger_gap", before.last + 1, each.first - 1, message)
        elif each.first <= before.last:
            message = "two ranges of the ledger cover these offsets"
            self._error("ledger_overlap", each.first, min(each.last, before.last), message)

    def _check_copies(self, offsets: Longs, copies: Longs) -> None:
        repeated = copies > 1
        firsts, lasts, counts = _runs(offsets[repeated], copies[repeated])
        for place in range(min(len(firsts), PLACES_NAMED_MAX)):
            found = f"stored {counts[place]} times"
            self._error("stored_twice", int(firsts[place]), int(lasts[place]), found)
        if len(firsts) > PLACES_NAMED_MAX:
            rest = slice(PLACES_NAMED_MAX, None)
            total = int((lasts[rest] - firsts[rest] + 1).sum())
            message = f"{total} more offsets among these are stored more than once"
            self._error("stored_twice", int(firsts[PLACES_NAMED_MAX]), int(lasts[-1]), message)

    def _check_uncovered(self, tally: _Tally, offsets: Longs, letters: Longs) -> None:
        rows = offsets[~tally.covered(offsets)]
        if len(rows):
            message = f"{len(rows)} offsets are stored that no range covers"
            self._error("uncovered_rows", int(rows[0]), int(rows[-1]), message)
        lost = letters[~tally.covered(letters)]
        if len(lost):
            message = f"{len(lost)} dead letters are of offsets that no range covers"
            self._error("surplus_letters", int(lost[0]), int(lost[-1]), message)

    def _check_rows(self, each: Recorded, rows: int) -> None:
        if rows == each.accepted:
            return
        message = f"{rows} offsets are stored, the ledger says {each.accepted}"
        kind: Kind = "missing_rows" if rows < each.accepted else "surplus_rows"
        self._error(kind, each.first, each.last, message)

    def _check_letters(self, each: Recorded, letters: int, stored_letters: int, rows: int) -> None:
        # Rules changed between two tries of a batch: a letter of the first try, a row (or a duplicate) of the
        # second one, which counts.
        alone = letters - stored_letters
        explained = each.rejected + each.duplicates + max(each.accepted - rows, 0)
        if alone + max(rows - each.accepted, 0) < each.rejected:
            message = f"{alone} dead letters are there, the ledger says {each.rejected}"
            self._error("missing_letters", each.first, each.last, message)
        elif alone > explained:
            message = f"{alone} dead letters are there, the ledger says {each.rejected}"
            self._error("surplus_letters", each.first, each.last, message)

    def _error(self, kind: Kind, first: int, last: int, message: str) -> None:
        self._add("error", kind, first, last, message)

    def _add(self, severity: Severity, kind: Kind, first: int, last: int, message: str) -> None:
        self._report.add(
            severity,
            kind,
            message,
            topic_id=self._span.topic_id,
            partition=self._span.partition,
            first=first,
            last=last,
        )


class _Tally:
    """Rows and letters by range of one page: three counts for each of its n ranges."""

    def __init__(self, page: list[Recorded]) -> None:
        self._firsts = np.array([each.first for each in page], np.int64)
        # Where ranges overlap, an offset below the end of any range before it is covered too.
        self._lasts = np.maximum.accumulate(np.array([each.last for each in page], np.int64))
        self.rows = np.zeros(len(page), np.int64)
        self.letters = np.zeros(len(page), np.int64)
        self.stored_letters = np.zeros(len(page), np.int64)

    def add(self, offsets: Longs, letters: Longs) -> None:
        """Count offsets that are stored and offsets that have a letter, each ascending and distinct."""
        both = letters[np.isin(letters, offsets, assume_unique=True)]
        for counts, found in ((self.rows, offsets), (self.letters, letters), (self.stored_letters, both)):
            inside = found[self.covered(found)]
            counts += np.bincount(self._place(inside), minlength=len(counts))

    def covered(self, offsets: Longs) -> npt.NDArray[np.bool_]:
        """Tell of each offset whether a range of the page covers it."""
        place = self._place(offsets)
        return (place >= 0) & (offsets <= self._lasts[np.maximum(place, 0)])

    def _place(self, offsets: Longs) -> npt.NDArray[np.intp]:
        return np.searchsorted(self._firsts, offsets, side="right") - 1


def _runs(offsets: Longs, copies: Longs) -> tuple[Longs, Longs, Longs]:
    """Return first, last and copies of the runs of neighbouring offsets that have equally many copies."""
    if not len(offsets):
        return offsets, offsets, copies
    breaks = np.flatnonzero((np.diff(offsets) != 1) | (np.diff(copies) != 0))
    starts = np.concatenate([[0], breaks + 1])
    return offsets[starts], offsets[np.concatenate([breaks, [len(offsets) - 1]])], copies[starts]

"""A search that has been understood: its terms, its canonical text, and how to change it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from auditlog_storage.search.fields import FIELDS, TEXT
from auditlog_storage.search.globs import Glob, quoted_text
from auditlog_storage.search.values import TimeRange, Value, read_times

_PLAIN_KEY: Final = re.compile(r"[^\s\":,*]+")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: any of the values, or, negated, none of them.

    Attributes:
        field: the field's name.
        values: alternatives, at least one.
        key: of ``metadata.KEY``.
        negated: a minus stands before it.
    """

    field: str
    values: tuple[Value, ...]
    key: str = ""
    negated: bool = False

    @property
    def name(self) -> str:
        """Return the field with its key, as the language writes it."""
        if not FIELDS[self.field].has_key:
            return self.field
        return f"{self.field}.{self.key if _PLAIN_KEY.fullmatch(self.key) else quoted_text(self.key)}"

    @property
    def text(self) -> str:
        """Return the term as the language writes it."""
        sign = "-" if self.negated else ""
        if self.field == TEXT and len(self.values) == 1:
            return sign + _free_text(self.values[0])
        return f"{sign}{self.name}:{','.join(value.text for value in self.values)}"


@dataclass(frozen=True, slots=True)
class Search:
    """Events for which every term holds. Made by `parse_search`; hashable.

    Attributes:
        terms: in the order in which they were written, no two of them equal.
        now: what relative times count from; None when there are none.
    """

    terms: tuple[Term, ...] = ()
    now: datetime | None = None

    @property
    def text(self) -> str:
        """Return the canonical text. Parsed at the same `now` it gives an equal search."""
        return " ".join(term.text for term in self.terms)

    def times(self) -> tuple[datetime | None, datetime | None]:
        """Return the range of time outside of which no event matches, as far as it is limited."""
        since, until = None, None
        for term in self.terms:
            ranges = [value for value in term.values if isinstance(value, TimeRange)]
            if term.negated or not ranges:
                continue
            starts = [each.since for each in ranges if each.since]
            ends = [each.until for each in ranges if each.until]
            if len(starts) == len(ranges):
                since = max(since or min(starts), min(starts))
            if len(ends) == len(ranges):
                until = min(until or max(ends), max(ends))
        return since, until

    def at(self, now: datetime) -> Search:
        """Return the search with its relative times counted from another `now`."""
        if self.now is None:
            return self
        return searching((replace(term, values=_at(term.values, now)) for term in self.terms), now)


NOTHING_ASKED: Final = Search()


def searching(terms: Iterable[Term], now: datetime | None) -> Search:
    """Return the search of these terms, repeated ones left out.

    Args:
        terms: the terms; the relative times among them were counted from `now`.
        now: kept when there are such times.
    """
    kept = tuple(dict.fromkeys(terms))
    is_relative = any(
        isinstance(value, TimeRange) and value.is_relative for term in kept for value in term.values
    )
    return Search(kept, now if is_relative else None)


def _at(values: tuple[Value, ...], now: datetime) -> tuple[Value, ...]:
    return tuple(
        read_times(value.form, now) if isinstance(value, TimeRange) and value.is_relative else value
        for value in values
    )


def _free_text(value: Value) -> str:
    text = value.text
    assert isinstance(value, Glob)
    return text if _FREE.fullmatch(text) and not _NOT_FREE.match(text) else _all_quoted(value)


def _all_quoted(glob: Glob) -> str:
    return "*".join(quoted_text(piece) if piece else "" for piece in glob.pieces)


_FREE: Final = re.compile(r"[^-:,].*", re.S)
_NOT_FREE: Final = re.compile(r"[A-Za-z_]+(\.[^\s\":,*]+)?:|(OR|AND|NOT)\Z")

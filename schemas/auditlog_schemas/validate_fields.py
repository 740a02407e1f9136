"""`FIELD_RULES` over whole columns: for each rule, the rows that break it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from auditlog_schemas.rules import FIELD_RULES, FieldRule, Test
from auditlog_schemas.validate_columns import EventColumns, Longs, Strings

_NONE: Final[Longs] = np.empty(0, np.int64)


def broken_rows(rule: FieldRule, columns: EventColumns) -> Longs:
    """Return the rows of a batch that break a rule; a row with several such items stands there as often."""
    return _ROWS[rule.test](rule, columns)


def _empty(rule: FieldRule, columns: EventColumns) -> Longs:
    strings = columns.strings(rule.path)
    if not len(strings.lengths) or strings.lengths.min() > 0:
        return _NONE
    return strings.rows(strings.lengths == 0)


def _bytes_over(rule: FieldRule, columns: EventColumns) -> Longs:
    strings = columns.strings(rule.path)
    if not len(strings.lengths) or strings.lengths.max() <= rule.limit:
        return _NONE
    return strings.rows(strings.lengths > rule.limit)


def _control(rule: FieldRule, columns: EventColumns) -> Longs:
    """Find U+0000 to U+001F, U+007F and, as UTF-8 has them, C2 80 to C2 9F."""
    strings = columns.strings(rule.path)
    data = strings.data
    if not len(data) or (data.min() >= 0x20 and data.max() < 0x7F):
        return _NONE
    found = (data < 0x20) | (data == 0x7F)
    found[:-1] |= (data[:-1] == 0xC2) & (data[1:] >= 0x80) & (data[1:] < 0xA0)
    at = np.flatnonzero(found)
    if not len(at):
        return _NONE
    return strings.rows_at(_strings_at(strings, at))


def _strings_at(strings: Strings, at: Longs) -> Longs:
    """Return the strings that hold the bytes at these places of their data."""
    return np.searchsorted(strings.offsets - strings.offsets[0], at, side="right") - 1


def _count_over(rule: FieldRule, columns: EventColumns) -> Longs:
    return np.flatnonzero(columns.counts(rule.path) > rule.limit)


def _below(rule: FieldRule, columns: EventColumns) -> Longs:
    return np.flatnonzero(columns.numbers(rule.path) < rule.limit)


_ROWS: Final[dict[Test, Callable[[FieldRule, EventColumns], Longs]]] = {
    Test.EMPTY: _empty,
    Test.BYTES_OVER: _bytes_over,
    Test.CONTROL: _control,
    Test.COUNT_OVER: _count_over,
    Test.BELOW: _below,
}

assert {rule.test for rule in FIELD_RULES} <= _ROWS.keys()

"""Cells of CSV that a spreadsheet may take for a formula: an apostrophe in front makes them text.

It can be taken away again: a cell that has apostrophes in front already gets one more.
"""

from __future__ import annotations

import re
from typing import Final

_STARTS: Final = "=+@\\-＝＋－＠﹦﹢﹣﹫"
"""The full-width and the small ones too: spreadsheets of eastern Asia take those for the others."""
_SKIPPED: Final = (
    "\\x00-\\x20\\x7f-\\xa0\\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    "\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""What nobody sees in front of a formula: control characters, white space, what Unicode calls ignorable."""

FORMULA: Final = re.compile(f"'*(?:[\\t\\n\\r]|[{_SKIPPED}]*[{_STARTS}])")
"""Matches the beginning of a cell that a spreadsheet may take for a formula, apostrophes in front or not."""

_FIRST_BYTES: Final = (
    *(*range(0x21), 0x27, 0x2B, 0x2D, 0x3D, 0x40, 0x7F),
    *(0xC2, 0xCD, 0xD8, 0xE1, 0xE2, 0xE3, 0xEF, 0xF0, 0xF3),
)
"""With which text that `FORMULA` matches can begin, in UTF-8."""


def neutral(text: str) -> str:
    """Return the text, with an apostrophe in front when a spreadsheet may take it for a formula."""
    return f"'{text}" if FORMULA.match(text) else text


def neutral_sql(column: str) -> str:
    """Return SQL for what `neutral` makes of a column's text."""
    # One byte first, since most cells end there and a regular expression takes three times as long.
    first = ", ".join(f"char({byte})" for byte in _FIRST_BYTES)
    pattern = "^" + FORMULA.pattern.replace("'", "\\x27")
    found = "match({}, '{}')".format(column, pattern.replace("\\", "\\\\"))
    return f"if(substring({column}, 1, 1) IN ({first}) AND {found}, concat(char(39), {column}), {column})"

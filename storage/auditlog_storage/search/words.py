"""Free text: what a word is, and how a phrase is found.

A word is a run of letters, digits and other characters beyond ASCII; everything else in ASCII separates
words, an underscore or a hyphen too. That is how ClickHouse's tokenizer `splitByNonAlpha` divides a text, and
with it the index `by_word`.
"""

from __future__ import annotations

import re
from typing import Final

from auditlog_storage.search.globs import Glob

_WORD: Final = re.compile(r"[0-9A-Za-z\x80-\U0010ffff]+")
_SPECIAL: Final = re.compile(r"([^\w\s\x80-\U0010ffff])")
_NO_WORD: Final = r"[^0-9a-z\x{80}-\x{10ffff}]"


def is_one_word(text: str) -> bool:
    """Tell whether a text is a single word."""
    return _WORD.fullmatch(text) is not None


def has_word(text: str) -> bool:
    """Tell whether there is a word in a text."""
    return _WORD.search(text) is not None


def phrase_pattern(glob: Glob) -> str:
    """Return the RE2 pattern of a phrase in a lower-case text with lines, for a pattern made lower-case.

    Where the phrase begins or ends with a word, so must the place where it is found. A star stands for any
    characters of one line.
    """
    first, last = glob.pieces[0][:1], glob.pieces[-1][-1:]
    begin = f"(^|{_NO_WORD})" if is_one_word(first) else ""
    end = f"($|{_NO_WORD})" if is_one_word(last) else ""
    return begin + r"[^\n]*".join(_SPECIAL.sub(r"\\\1", piece) for piece in glob.pieces) + end

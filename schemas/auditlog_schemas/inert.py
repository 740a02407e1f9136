"""Text from events, made harmless for whatever shows it: a terminal, a page, a log line.

Names, ids and messages come from anybody. Shown as they are, they could move a terminal's cursor, hide parts
of themselves or turn the reading direction of the whole line.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

# Unicode 17 categories Cc (control), Cf (format: bidi, zero width, tags), Cs (surrogates), Zl and Zp (line
# and paragraph separator). Written out, because asking unicodedata for a million characters takes 0.2 s.
UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f\ud800-\udfff]"
)


def inert(text: str) -> str:
    """Return the text with every unsafe character written as its Python escape, for example ``\\x1b``."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def inert_json(value: Any, indent: int | None = None) -> str:
    """Return JSON, readable and without unsafe characters; parsing it gives them back.

    Args:
        value: JSON-like data.
        indent: spaces of a level, which makes many lines; None makes one line.
    """
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)
    return UNSAFE.sub(_json_escape, text)


def shortened(text: str, characters_max: int) -> str:
    """Return the text, cut with an ellipsis when it is longer than `characters_max`."""
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def _json_escape(found: re.Match[str]) -> str:
    if found[0] == "\n":
        # It ends a line of indented JSON: those in strings have been escaped already.
        return "\n"
    return json.dumps(found[0])[1:-1] if ord(found[0]) != 0x7F else "\\u007f"

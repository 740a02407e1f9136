"""Text from events as a page shows it: what cannot be seen is written out, and marked as written out."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from markupsafe import Markup, escape

from auditlog_schemas.inert import UNSAFE, inert

_RUN: Final = re.compile(f"(?:{UNSAFE.pattern})+")
_ESCAPE: Final = Markup('<span class="esc">{}</span>')
_INDENT: Final = "  "
# A string, a number or word, or one sign; white space between them is left out.
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"\[\]{},:]+|[\[\]{},:]', re.DOTALL)


def marked(text: str) -> Markup:
    """Return the text as HTML, its unsafe characters as escapes in ``<span class="esc">``."""
    parts, end = [], 0
    for found in _RUN.finditer(text):
        parts += [escape(text[end : found.start()]), _ESCAPE.format(inert(found[0]))]
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def finalized(value: Any) -> Any:
    """Return what a template shows of a value: markup as it is, other text inert.

    The ``{{ … }}`` of every template go through here, so that a template cannot forget it.
    """
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return inert(value)


def indented(text: str) -> list[str]:
    """Return JSON text as indented lines; text that is no JSON as one line.

    Nothing but white space changes: a number keeps its digits, a repeated key stays, a string keeps its
    quotes (``"5"`` and ``5`` are not the same value).
    """
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    lines, depth, before = [""], 0, ""
    for sign in _TOKEN.findall(text):
        is_closing = sign in ("]", "}")
        depth -= is_closing
        if before in ("[", "{"):
            if not is_closing:
                lines.append(_INDENT * depth)
        elif is_closing or before == ",":
            lines.append(_INDENT * depth)
        lines[-1] += f"{sign} " if sign == ":" else sign
        depth += sign in ("[", "{")
        before = sign
    return lines

"""Nothing that a terminal obeys gets through."""

import json
import sys
import unicodedata

import pytest

from auditlog_schemas.inert import UNSAFE, inert, inert_json, shortened

HOSTILE = "\x1b[31mred\x1b]0;title\x07 \u202egnirts\u2069 zero\u200bwidth\r\n\x9b2J \ufeff[bold]x[/bold]"


def test_the_pattern_is_exactly_the_unsafe_categories() -> None:
    found = {code for code in range(sys.maxunicode + 1) if UNSAFE.match(chr(code))}
    unsafe = {
        code
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }
    assert {hex(code) for code in unsafe - found} == set()
    # What a newer Unicode than this Python's made a format character may be in the pattern too.
    assert {code for code in found - unsafe if unicodedata.category(chr(code)) != "Cn"} == set()


def test_hostile_text_is_written_as_escapes() -> None:
    shown = inert(HOSTILE)
    assert shown.startswith("\\x1b[31mred")
    assert "\\u202egnirts\\u2069" in shown
    assert all(character.isprintable() for character in shown)


@pytest.mark.parametrize("text", ["", "Zoë Müller", "日本語", "👍", "a → b", "[bold]"])
def test_harmless_text_stays(text: str) -> None:
    assert inert(text) == text


def test_json_is_inert_and_loses_nothing() -> None:
    value = {"name": HOSTILE + "\x7f\udc80 Zoë", "n": [1, None]}
    line = inert_json(value)
    assert UNSAFE.search(line) is None
    assert "Zoë" in line
    assert json.loads(line) == value


def test_indented_json_breaks_lines_between_values_only() -> None:
    value = {"name": HOSTILE, "more": ["a\nb", "\u2028"]}
    text = inert_json(value, indent=2)
    assert UNSAFE.search(text.replace("\n", "")) is None
    assert len(text.split("\n")) == 7
    assert json.loads(text) == value


def test_json_beyond_the_basic_plane() -> None:
    assert json.loads(inert_json("\U000e0041\U0001f600")) == "\U000e0041\U0001f600"


def test_shortened() -> None:
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 6) == "abcde…"

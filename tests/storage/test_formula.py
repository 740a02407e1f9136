"""What a spreadsheet may take for a formula, in Python and in ClickHouse."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog_storage.connection import Connection
from auditlog_storage.formula import _FIRST_BYTES, FORMULA, neutral, neutral_sql
from auditlog_storage.settings import StorageSettings

INVISIBLE = "\t\n\r \x00\x1f\x7f\x85\xa0\u2003\u200b\u200d\u2028\u2060\u202e\u3000\ufe0f\ufeff\U000e0041"
STARTS = "=+-@＝＋－＠﹦﹢﹣﹫"

texts = st.text(
    st.sampled_from(f"{INVISIBLE}{STARTS}'\"ab1") | st.characters(exclude_categories=["Cs"]), max_size=8
)


def plain(cell: str) -> str:
    """Undo `neutral`, as docs/api.md says."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("front", ["", *INVISIBLE, "\ufeff\u00a0", " \n\t ", "\u200b" * 50])
def test_a_formula_is_made_text_whatever_stands_unseen_in_front(front: str, start: str) -> None:
    hostile = f'{front}{start}HYPERLINK("http://evil.example","x")'
    assert neutral(hostile) == "'" + hostile


@pytest.mark.parametrize("front", ["\t", "\n", "\r", "\r\n"])
def test_a_line_break_or_a_tab_in_front_is_enough(front: str) -> None:
    assert neutral(f"{front}text") == f"'{front}text"


@pytest.mark.parametrize(
    "text", ["", "a=1", "1-2", "  indented", "\ufefftext", "'quoted'", "ä@b", "–dash", "/x"]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert neutral(text) == text


def test_whatever_unicode_calls_a_space_or_a_control_character_is_unseen() -> None:
    spaces = [char for char in _characters() if unicodedata.category(char) in ("Cc", "Zs", "Zl", "Zp")]
    assert [char for char in spaces if not FORMULA.match(f"{char}=1")] == []


def test_clickhouse_looks_at_every_first_byte_that_a_formula_can_have() -> None:
    first = {f"{char}=".encode()[0] for char in _characters() if FORMULA.match(f"{char}=")}
    first |= {char.encode()[0] for char in _characters() if FORMULA.match(char)}
    assert first == set(_FIRST_BYTES)


@settings(deadline=None)
@given(texts)
def test_the_apostrophe_can_be_taken_away_again(text: str) -> None:
    cell = neutral(text)
    assert plain(cell) == text
    assert cell.startswith("'") or not FORMULA.match(cell)


@pytest.mark.integration
@settings(deadline=None, max_examples=60)
@given(st.lists(texts, min_size=20, max_size=100))
def test_clickhouse_decides_as_python_does(clickhouse_url: str, found: list[str]) -> None:
    sql = f"SELECT {neutral_sql('cell')} FROM (SELECT arrayJoin({{texts:Array(String)}}) AS cell)"
    with Connection(StorageSettings.load(url=clickhouse_url)) as connection:
        rows = connection.query_rows(sql, {"texts": found})
    assert [row[0] for row in rows] == [neutral(text) for text in found]


def _characters() -> Iterator[str]:
    return (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF)

"""Text of events on a page: nothing hidden, nothing changed."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from auditlog_api.pages.rendering import _environment
from auditlog_api.pages.shown_text import finalized, indented, marked
from auditlog_schemas.inert import UNSAFE

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_json_is_indented_as_pythons_own_writer_does_it(value: Any) -> None:
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert indented(compact) == json.dumps(value, ensure_ascii=False, indent=2).split("\n")


def test_indenting_changes_no_value() -> None:
    assert indented('{"a":1.10,"a":1e400}') == ["{", '  "a": 1.10,', '  "a": 1e400', "}"]
    assert indented('{ "s" : "a, [b]" }') == ["{", '  "s": "a, [b]"', "}"]


def test_what_is_no_json_is_one_line() -> None:
    for text in ("pro seat", "", "[1, 2", '"open', "[" * 100_000):
        assert indented(text) == [text]


def test_unsafe_characters_are_written_out_and_marked() -> None:
    assert marked("a\u202e\u2066b<i>") == Markup('a<span class="esc">\\u202e\\u2066</span>b&lt;i&gt;')
    assert marked("Zoë 日本 👍") == "Zoë 日本 👍"


@given(st.text())
def test_no_text_brings_markup_or_unsafe_characters(text: str) -> None:
    shown = marked(text)
    assert UNSAFE.search(shown) is None
    assert "<" not in shown.replace('<span class="esc">', "").replace("</span>", "")


def test_every_expression_of_every_template_is_inert() -> None:
    template = _environment().from_string('<a title="{{ text }}">{{ text }}</a>')
    html = template.render(text='"><script>\u202e\r\n')
    assert html == '<a title="&#34;&gt;&lt;script&gt;\\u202e\\r\\n">&#34;&gt;&lt;script&gt;\\u202e\\r\\n</a>'
    assert finalized(5) == 5
    assert finalized(Markup("<b>")) == Markup("<b>")

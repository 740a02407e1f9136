"""The search language by itself: what is understood, how it is written back, and every mistake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog_schemas.errors import BadFilter
from auditlog_storage.search import (
    NOTHING_ASKED,
    BadSearch,
    Search,
    has_term,
    parse_search,
    with_term,
    without_field,
    without_term,
)
from auditlog_storage.search.fields import FIELDS
from auditlog_storage.search.globs import Glob, quoted_text
from auditlog_storage.search.parse import TERMS_MAX, TEXT_CHARACTERS_MAX, VALUES_MAX
from auditlog_storage.search.values import TimeRange

NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
DAY = datetime(2026, 11, 1, tzinfo=UTC)

ANY_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
LITERALS = ANY_TEXT.map(quoted_text)
BARE = st.text("abz019_-./%:*\\", min_size=1, max_size=8)
VALUES = st.lists(LITERALS | BARE, min_size=1, max_size=3).map("".join)
ADDRESSES = st.ip_addresses().map(str) | st.ip_addresses(v=4).map(lambda address: f"{address}/12")
MOMENTS = st.sampled_from(["now", "3d", "now-2h", "today", "2026-11-01", '"2026-11-01 09:30"'])
TIMES = st.builds("{}{}".format, st.sampled_from(["", ">=", "<=", ">", "<", ".."]), MOMENTS)
TERMS = st.one_of(
    VALUES,
    ADDRESSES.map("ip:".__add__),
    TIMES.map("created:".__add__),
    st.builds("metadata.{}:{}".format, LITERALS, VALUES),
    st.builds(
        lambda name, values: f"{name}:{','.join(values)}",
        st.sampled_from(sorted(set(FIELDS) - {"ip", "created", "metadata"})),
        st.lists(VALUES, min_size=1, max_size=3),
    ),
)
SIGNED = st.builds("{}{}".format, st.sampled_from(["", "-"]), TERMS)
SEARCHES = st.lists(SIGNED, max_size=4).map(" ".join)


# The first parse makes the parser, which takes longer than Hypothesis allows on a busy machine.
UNTIMED = settings(deadline=None)


def understood(text: str) -> Search | BadSearch:
    try:
        return parse_search(text, NOW)
    except BadSearch as mistake:
        return mistake


@UNTIMED
@given(SEARCHES)
def test_the_canonical_text_means_the_same(text: str) -> None:
    search = understood(text)
    if isinstance(search, BadSearch):
        return
    again = parse_search(search.text, NOW)
    assert again == search
    assert hash(again) == hash(search)
    assert again.text == search.text


@UNTIMED
@given(st.text(max_size=60) | st.text('action:"-* ,.>=<metadata12', max_size=40))
def test_any_text_is_understood_or_refused_at_a_place(text: str) -> None:
    mistake = understood(text)
    if isinstance(mistake, BadSearch):
        assert mistake.text == text
        assert 0 <= mistake.position <= len(text)
        assert mistake.expected
        assert str(mistake).startswith("search: ")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" action:license.*   -actor:usr_7 ", "action:license_* -actor:usr_7"),
        ("action:a,b,a", "action:a,b"),
        ("ACTION:a Actor:b", "action:a actor:b"),
        ("action:**", "action:*"),
        ('actor:"usr_7"', "actor:usr_7"),
        ('actor:"a*"', 'actor:"a*"'),
        ('actor:"a"*', "actor:a*"),
        ('entity:license/"lic 4"*', 'entity:license/"lic 4"*'),
        ("ip:10.1.2.3/8", "ip:10.0.0.0/8"),
        ("ip:2001:DB8::0/32", "ip:2001:db8::/32"),
        ('metadata."source":web', "metadata.source:web"),
        ('metadata."a b":"x y"', 'metadata."a b":"x y"'),
        ("text:foo", "foo"),
        ('"action:x"', '"action:x"'),
        ('"-x" "OR"', '"-x" "OR"'),
        ("foo foo", "foo"),
        ("12:30", "12:30"),
        ("", ""),
    ],
)
def test_the_canonical_text(text: str, canonical: str) -> None:
    assert parse_search(text, NOW).text == canonical


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2026-11-01", DAY, DAY + timedelta(days=1)),
        (">=2026-11-01", DAY, None),
        (">2026-11-01", DAY + timedelta(days=1), None),
        ("<2026-11-01", None, DAY),
        ("<=2026-11-01", None, DAY + timedelta(days=1)),
        ("2026-11-01..2026-11-08", DAY, DAY + timedelta(days=8)),
        ("2026-11-01..", DAY, None),
        ("2026-11-01T00:00Z", DAY, DAY + timedelta(minutes=1)),
        ("2026-11-01T02:00:00+02:00", DAY, DAY + timedelta(seconds=1)),
        ("3d", NOW - timedelta(days=3), None),
        ("now-2h..now", NOW - timedelta(hours=2), NOW + timedelta(microseconds=1)),
        ("yesterday", datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC)),
    ],
)
def test_times(text: str, since: datetime | None, until: datetime | None) -> None:
    search = parse_search(f"created:{text}", NOW)
    [value] = search.terms[0].values
    assert isinstance(value, TimeRange)
    assert (value.since, value.until) == (since, until)
    assert search.times() == (since, until)


def test_relative_times_can_be_counted_from_another_now() -> None:
    search = parse_search("created:3d actor:a", NOW)
    later = NOW + timedelta(hours=1)
    assert search.now == NOW
    assert search.at(later) == parse_search("created:3d actor:a", later) != search
    assert parse_search("created:2026-11-01", NOW) == parse_search("created:2026-11-01", later)


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("action:", 7, "a value"),
        ("action:a,", 9, "a value"),
        ("actor:x foo:bar", 8, "metadata.KEY:"),
        ('actor:x "abc', 8, 'a closing " behind it'),
        ("actor:x -", 9, "text to look for"),
        ("a OR b", 2, "a comma between values where one is enough (action:a,b)"),
        ("ip:10.0.0", 3, "a network, for example 10.0.0.0/8"),
        ("created:soon", 8, "a range (2026-11-01..2026-11-08)"),
        ("created:2026-11-08..2026-11-01", 8, "the earlier time first"),
        ("entity:/x", 7, "TYPE"),
        ("metadata:x", 8, ".KEY, as in metadata.source:web"),
        ("action.x:y", 0, "action:"),
        ('x "--"', 2, "a word to look for"),
        ('actor:""', 6, "* for any value"),
        ("x" * (TEXT_CHARACTERS_MAX + 1), TEXT_CHARACTERS_MAX, "at most 2,000 characters, these are 2,001"),
        (" ".join(f"w{n}" for n in range(TERMS_MAX + 1)), 190, f"at most {TERMS_MAX} terms"),
        ("actor:" + ",".join("a" * (VALUES_MAX + 1)), 6 + 2 * VALUES_MAX, f"at most {VALUES_MAX} values"),
    ],
)
def test_a_mistake_has_a_place_and_what_was_expected(text: str, position: int, expected: str) -> None:
    with pytest.raises(BadSearch) as caught:
        parse_search(text, NOW)
    assert caught.value.position == position
    assert expected in caught.value.expected
    assert f"at character {position + 1}; expected" in str(caught.value)


def test_the_time_to_count_from_needs_a_zone() -> None:
    with pytest.raises(BadFilter):
        parse_search("x", datetime(2026, 1, 1))


def test_values_are_added_and_taken_away() -> None:
    search = with_term(NOTHING_ASKED, "action", "license_created", NOW)
    search = with_term(search, "action", "license_deleted", NOW)
    search = with_term(search, "actor", "a*", NOW, negated=True)
    assert search.text == 'action:license_created,license_deleted -actor:"a*"'
    assert has_term(search, "actor", "a*", NOW, negated=True)
    assert not has_term(search, "actor", "a*", NOW)
    assert with_term(search, "actor", "a*", NOW).text == 'action:license_created,license_deleted actor:"a*"'
    search = without_term(search, "action", "license_created", NOW)
    assert search.text == 'action:license_deleted -actor:"a*"'
    assert without_term(search, "action", "license_deleted", NOW).text == '-actor:"a*"'
    search = with_term(with_term(search, "created", "3d", NOW), "created", "today", NOW)
    assert search.text == 'action:license_deleted -actor:"a*" created:today'
    assert without_field(search, "created").now is None
    both = with_term(with_term(NOTHING_ASKED, "item", "license/1", NOW), "item", "order/2", NOW)
    assert both.text == "item:license/1 item:order/2"
    assert with_term(NOTHING_ASKED, "metadata.a b", "x", NOW).text == 'metadata."a b":x'
    for name in ("nothing", "metadata", "action.x"):
        with pytest.raises(BadFilter, match="is no field of a search"):
            with_term(search, name, "x", NOW)


@UNTIMED
@given(st.sampled_from(["action", "actor", "change", "request", "source", "metadata.k"]), ANY_TEXT)
def test_what_was_added_is_there_and_goes_again(name: str, text: str) -> None:
    search = with_term(NOTHING_ASKED, name, text, NOW)
    assert has_term(search, name, text, NOW)
    assert parse_search(search.text, NOW) == search
    assert without_term(search, name, text, NOW) == NOTHING_ASKED


@UNTIMED
@given(st.lists(st.text(max_size=4), min_size=1, max_size=4).map(tuple))
def test_a_globs_pattern_has_a_percent_sign_for_each_star(pieces: tuple[str, ...]) -> None:
    pattern = Glob(pieces).like
    unescaped = pattern.replace("\\\\", "").replace("\\%", "").replace("\\_", "")
    assert unescaped.count("%") == len(pieces) - 1
    assert "_" not in unescaped

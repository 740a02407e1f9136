"""The state of a page is its URL: what is read from it, and what is written into links."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from auditlog_api.pages.filters import quick_ranges, term_links
from auditlog_api.pages.view import Place, View, item_path, read_utc, read_view, times_text
from auditlog_schemas.errors import BadFilter

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PLACE = Place("acc_1")


def view(**query: str) -> View:
    return read_view(PLACE, query, NOW)


def query_of(href: str | None) -> dict[str, Any]:
    assert href is not None
    return {name: values[0] for name, values in parse_qs(urlsplit(href).query).items()}


def test_an_empty_url_is_the_newest_events() -> None:
    assert view() == View(PLACE, NOW)
    assert view().href() == "/accounts/acc_1/audit-logs"


def test_all_state_goes_through_the_url_and_back() -> None:
    event = "0199a000-0000-7000-8000-000000000001"
    found = view(q="actor:usr_7", cursor="abc", rows="25", zone="local", event=event, utm="x")
    assert (found.cursor, found.rows, found.zone, found.event_id) == ("abc", 25, "local", UUID(event))
    href = found.href(cursor="abc", event=event)
    assert read_view(PLACE, query_of(href), NOW) == found


def test_links_keep_rows_and_zone_and_drop_the_page() -> None:
    found = view(q="actor:usr_7", cursor="abc", rows="25", zone="local")
    assert query_of(found.href()) == {"q": "actor:usr_7", "rows": "25", "zone": "local"}
    assert query_of(found.event_path("x")) == {"rows": "25", "zone": "local"}


def test_a_mistake_is_part_of_the_view() -> None:
    found = view(q="action:a colour:red")
    assert found.mistake is not None
    assert found.mistake.position == 9
    assert found.typed == "action:a colour:red"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            ("rows", text)
            for text in ("0", "201", "²", "9" * 5000, "0000000012345", "000000001" + "0" * 5000)
        ),
        ("event", "x"),
    ],
)
def test_other_mistakes_are_errors_that_name_the_parameter(name: str, text: str) -> None:
    with pytest.raises(BadFilter, match=f"^{name}: "):
        view(**{name: text})


def test_a_value_is_asked_for_and_no_longer() -> None:
    one = view(q="actor:usr_7")
    both = query_of(one.href_with("action", "license_reset"))["q"]
    assert both == "actor:usr_7 action:license_reset"
    assert query_of(view(q=both).href_with("action", "license_reset"))["q"] == "actor:usr_7"
    assert query_of(view(q=both).href_with("action", "x"))["q"] == "actor:usr_7 action:license_reset,x"
    assert view(q=both).is_asked("action", "license_reset")


def test_a_value_that_the_language_does_not_have_gets_no_link() -> None:
    assert view().href_with("ip", "not an address") is None
    assert not view().is_asked("ip", "not an address")


def test_quick_ranges_replace_each_other() -> None:
    found = view(q="actor:usr_7 created:24h")
    ranges = {each.short: each for each in quick_ranges(found)}
    assert [short for short, each in ranges.items() if each.is_chosen] == ["24 hours"]
    assert query_of(ranges["7 days"].href)["q"] == "actor:usr_7 created:7d"
    assert query_of(ranges["All"].href)["q"] == "actor:usr_7"
    assert [each.short for each in quick_ranges(view()) if each.is_chosen] == ["All"]


def test_each_term_can_be_taken_out() -> None:
    links = term_links(view(q="actor:usr_7 -action:*_updated seat"))
    assert [link.text for link in links] == ["actor:usr_7", "-action:*_updated", "seat"]
    assert query_of(links[1].without_href)["q"] == "actor:usr_7 seat"


def moment(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until", "text"),
    [
        (moment(1), moment(2), "2026-11-01"),
        (moment(1), moment(4), "2026-11-01..2026-11-03"),
        (moment(1, 9), moment(1, 10), "2026-11-01T09:00:00Z..2026-11-01T09:59:59Z"),
        (moment(1, 9), None, ">=2026-11-01T09:00:00Z"),
        (None, moment(1, 9), "<2026-11-01T09:00:00Z"),
        (None, None, ""),
    ],
)
def test_a_range_is_written_so_that_it_means_just_this_range(
    since: datetime | None, until: datetime | None, text: str
) -> None:
    assert times_text(since, until) == text
    if text:
        assert view(q=f"created:{text}").search.times() == (since, until)


def test_ids_stay_ids_in_paths() -> None:
    assert item_path("acc/1", "license", "a/b?#%2F") == "/accounts/acc%2F1/items/license/a%2Fb%3F%23%252F"
    assert Place("acc_1", "license/a/b").path == "/accounts/acc_1/items/license/a%2Fb"


def test_times_of_the_form_are_utc() -> None:
    assert read_utc("from", "2026-11-01T09:30") == moment(1, 9, 30)
    assert read_utc("from", "") is None
    with pytest.raises(BadFilter, match=r"^from: "):
        read_utc("from", "soon")

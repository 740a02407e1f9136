"""Without JavaScript, with keys alone, in the dark, in a narrow window."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from auditlog_schemas.catalog_file import load_catalog
from kit.pages_stage import ACCOUNT, EMPTY, HOSTILE, Stage
from pages.driving import Open, follow, newest_first, query, shown_ids, total

pytestmark = pytest.mark.integration

CATALOG = load_catalog()
NARROW = {"width": 320, "height": 800}


def test_reading_filtering_and_paging_need_no_javascript(open_page: Open, stage: Stage) -> None:
    page = open_page(java_script_enabled=False)
    ids = newest_first(stage.events)
    assert shown_ids(page) == ids[:50]
    follow(page, page.get_by_role("link", name="Older →"))
    assert shown_ids(page) == ids[50:100]
    follow(page, page.get_by_role("link", name="← Newer"))
    assert shown_ids(page) == ids[:50]
    page.locator("#q").fill("action:license_reset")
    follow(page, page.get_by_role("button", name="Search"))
    assert total(page) == sum(event.action == "license_reset" for event in stage.events)
    follow(page, page.locator("svg.bars a").first)
    assert query(page.url)["q"].startswith("action:license_reset created:")
    follow(page, page.get_by_role("link", name="Clear all"))
    follow(page, page.locator(".facets").get_by_role("link", name="Orders"))
    assert query(page.url)["q"] == "group:Orders"
    for name in ("Local", "Dark mode", "Keyboard shortcuts"):
        assert not page.get_by_role("button", name=name).count()


def test_events_need_no_javascript(open_page: Open, stage: Stage) -> None:
    newest = max(stage.events, key=lambda event: event.occurred_at)
    page = open_page(java_script_enabled=False)
    follow(page, page.locator("tbody .open").first)
    assert page.url == stage.place(f"/audit-logs/{newest.event_id}")
    expect(page.locator("main h1")).to_have_text(CATALOG.sentence(newest))
    page.locator(".raw summary").click()
    expect(page.locator(".raw pre")).to_contain_text(str(newest.event_id))
    page.goto(stage.place(f"/audit-logs?event={newest.event_id}"))
    expect(page.locator("#drawer #event-title")).to_have_text(CATALOG.sentence(newest))
    follow(page, page.get_by_role("link", name="Close"))
    expect(page.locator("#drawer")).not_to_be_visible()


def test_everything_is_done_with_keys(open_page: Open, stage: Stage) -> None:
    page = open_page()
    keys = page.keyboard
    keys.press("/")
    expect(page.locator("#q")).to_be_focused()
    keys.type("action:license_created")
    with page.expect_navigation():
        keys.press("Enter")
    ids = shown_ids(page)
    keys.press("j")
    keys.press("j")
    keys.press("j")
    keys.press("k")
    opener = page.locator(f'tr[data-event="{ids[1]}"] .open')
    expect(opener).to_be_focused()
    keys.press("Enter")
    expect(page.locator("#event-title")).to_be_focused()
    assert query(page.url)["event"] == ids[1]
    keys.press("j")
    expect(page.locator(f'#drawer [data-event="{ids[2]}"]')).to_be_visible()
    keys.press("Escape")
    expect(page.locator("#drawer")).not_to_be_visible()
    expect(page.locator(f'tr[data-event="{ids[2]}"] .open')).to_be_focused()


def test_keys_are_listed_and_can_be_switched_off(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Single-key shortcuts are on").uncheck()
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#q")).not_to_be_focused()
    page.reload()
    page.keyboard.press("j")
    expect(page.locator("tbody .open").first).not_to_be_focused()


def test_the_chart_is_one_stop_and_arrows_choose_a_range(open_page: Open) -> None:
    page = open_page()
    bars = page.locator("svg.bars a")
    assert page.locator('svg.bars a[tabindex="0"]').count() == 1
    bars.first.focus()
    page.keyboard.press("ArrowRight")
    expect(bars.nth(1)).to_be_focused()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    counted = page.locator("svg.bars .is-chosen").evaluate_all(
        "chosen => chosen.reduce((sum, one) => sum + Number(one.dataset.events), 0)"
    )
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert total(page) == counted > 0


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_dark_mode_follows_the_system_until_somebody_chooses(open_page: Open) -> None:
    light, page = background(open_page()), open_page(color_scheme="dark")
    dark = background(page)
    assert light != dark
    button = page.get_by_role("button", name="Dark mode")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    assert background(page) == light
    page.reload()
    assert background(page) == light
    assert page.locator("html").get_attribute("data-theme") == "light"


@pytest.mark.parametrize(
    ("path", "account"),
    [
        ("/audit-logs", ACCOUNT),
        ("/audit-logs?q=action:license.* actor:*", ACCOUNT),
        ("/audit-logs", HOSTILE),
        ("/audit-logs", EMPTY),
    ],
)
def test_nothing_is_wider_than_320_pixels(open_page: Open, path: str, account: str) -> None:
    page = open_page(path, account, viewport=NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    if page.locator("tbody tr").count():
        page.locator("tbody tr .cell-actor").first.click()
        expect(page.locator("#drawer .event")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        assert page.locator("#drawer").evaluate("drawer => drawer.scrollWidth <= drawer.clientWidth")
        page.get_by_role("link", name="Close").click()
        expect(page.locator("#drawer")).not_to_be_visible()


def test_filters_are_folded_where_there_is_no_room(open_page: Open) -> None:
    page = open_page(viewport=NARROW)
    link = page.locator(".facets").get_by_role("link", name="Licenses")
    expect(link).not_to_be_visible()
    page.locator(".facets > summary").click()
    follow(page, link)
    assert query(page.url)["q"] == "group:Licenses"

"""One event in a real browser: the drawer and the permalink."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.event import AuditEvent
from kit.pages_stage import Stage
from pages.driving import Open, follow, query

pytestmark = pytest.mark.integration

CATALOG = load_catalog()


def changed(stage: Stage) -> AuditEvent:
    """The newest event that has a change with both sides."""
    found = [e for e in stage.events if e.changes and e.changes[0].before and e.changes[0].after]
    return max(found, key=lambda event: event.occurred_at)


def test_a_row_opens_a_drawer_with_everything(open_page: Open, stage: Stage) -> None:
    event = changed(stage)
    page = open_page(f"/audit-logs?q=action:{event.action}")
    row = page.locator(f'tr[data-event="{event.event_id}"]')
    row.locator(".cell-changes").click()
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("heading", level=1)).to_have_text(CATALOG.sentence(event))
    expect(drawer.get_by_role("heading", level=1)).to_be_focused()
    change = event.changes[0]
    expect(drawer.locator(".diff h3").first).to_contain_text(change.field)
    before, after = drawer.locator(".before pre").first, drawer.locator(".after pre").first
    assert json.loads(before.inner_text()) == json.loads(change.before or "")
    assert json.loads(after.inner_text()) == json.loads(change.after or "")
    for text in (event.actor.id, event.entity.id, event.context.ip, event.context.request_id):
        expect(drawer).to_contain_text(text or "none")
    for entity in event.related:
        expect(drawer).to_contain_text(entity.id)
    drawer.get_by_text("Raw JSON").click()
    raw = json.loads(drawer.locator(".raw pre").inner_text())
    assert raw["event_id"] == str(event.event_id)
    assert query(page.url) == {"q": f"action:{event.action}", "event": str(event.event_id)}


def test_the_drawers_url_survives_reloading_and_going_back_closes_it(open_page: Open, stage: Stage) -> None:
    event = changed(stage)
    page = open_page(f"/audit-logs?q=action:{event.action}")
    page.locator(f'tr[data-event="{event.event_id}"] .cell-changes').click()
    title = page.locator("#drawer #event-title")
    expect(title).to_have_text(CATALOG.sentence(event))
    page.reload()
    expect(title).to_have_text(CATALOG.sentence(event))
    page.go_back()
    expect(title).not_to_be_visible()
    assert "event" not in query(page.url)


def test_steps_and_closing(open_page: Open) -> None:
    page = open_page()
    rows = page.locator("tbody tr")
    rows.nth(0).locator(".cell-actor").click()
    first = rows.nth(0).get_attribute("data-event")
    expect(page.locator(f'#drawer [data-event="{first}"]')).to_be_visible()
    page.get_by_role("button", name="Older event").click()
    second = rows.nth(1).get_attribute("data-event")
    expect(page.locator(f'#drawer [data-event="{second}"]')).to_be_visible()
    page.get_by_role("link", name="Close").click()
    expect(page.locator("#drawer")).not_to_be_visible()
    expect(rows.nth(1).locator(".open")).to_be_focused()


def test_the_permalink_is_a_page_of_its_own(open_page: Open, stage: Stage) -> None:
    event = changed(stage)
    page = open_page(f"/audit-logs?event={event.event_id}")
    follow(page, page.locator("#drawer").get_by_role("link", name="Permalink"))
    expect(page.locator("main h1")).to_have_text(CATALOG.sentence(event))
    assert page.url == stage.place(f"/audit-logs/{event.event_id}")
    follow(page, page.get_by_role("link", name=event.actor.id))
    assert query(page.url)["q"] == f"actor:{event.actor.id}"


def test_an_event_that_is_not_on_the_page_opens_too(open_page: Open, stage: Stage) -> None:
    oldest = min(stage.events, key=lambda event: event.occurred_at)
    page = open_page(f"/audit-logs?event={oldest.event_id}")
    expect(page.locator("#drawer #event-title")).to_have_text(CATALOG.sentence(oldest))
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).not_to_be_visible()


def test_an_item_has_a_page_with_its_events(open_page: Open, stage: Stage) -> None:
    page = open_page(f"/items/{stage.story.key}")
    expected = [
        event
        for event in stage.events
        if (stage.story.type, stage.story.id)
        in [(each.type, each.id) for each in (event.entity, *event.related)]
    ]
    assert page.locator("tbody tr").count() == len(expected)
    expect(page.locator(".heading-note")).to_have_text(stage.story.key)
    page.locator("tbody tr .cell-actor").first.click()
    expect(page.locator("#drawer .event")).to_be_visible()
    page.keyboard.press("Escape")
    follow(page, page.get_by_role("link", name="Audit logs", exact=True))
    assert page.url == stage.place()


def test_a_session_that_ends_meanwhile_says_so_in_the_drawer(open_page: Open) -> None:
    page = open_page(tolerates="401")
    ended = "<h1>Your session has ended</h1>"
    page.route("**/audit-logs/*", lambda route: route.fulfill(status=401, body=ended))
    page.locator("tbody tr .cell-actor").first.click()
    expect(page.locator("#drawer")).to_contain_text("Your session has ended")

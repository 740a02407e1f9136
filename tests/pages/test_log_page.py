"""The page of an account's log in a real browser: what it shows, every filter, paging, the chart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.event import AuditEvent
from kit.pages_stage import ACCOUNT, Stage
from pages.driving import Open, follow, newest_first, query, search, shown_ids, total

pytestmark = pytest.mark.integration

CATALOG = load_catalog()
FILTERS = (
    *("action", "glob", "negated", "group", "kind", "entity", "item", "actor", "ip", "network"),
    *("request", "created", "change", "several"),
)
Matches = Callable[[AuditEvent], bool]


def test_the_page_shows_the_newest_events(open_page: Open, stage: Stage) -> None:
    page = open_page()
    assert total(page) == len(stage.events)
    assert shown_ids(page) == newest_first(stage.events)[:50]
    heads = page.locator("th").all_inner_texts()
    assert heads == ["Timestamp UTC", "Action", "Entity", "Changes", "Actor", "Request ID"]
    newest = max(stage.events, key=lambda event: event.occurred_at)
    row = page.locator("tbody tr").first
    expect(row.locator("time")).to_have_text(f"{newest.occurred_at:%Y-%m-%d %H:%M:%S}")
    expect(row.locator(".cell-action")).to_have_text(newest.action)
    request_id = (newest.context.request_id or "–none")[:8]
    expect(row.locator(".cell-request")).to_have_text(request_id)


def pick(events: list[AuditEvent], wanted: Matches) -> AuditEvent:
    return next(event for event in events if wanted(event))


def filters(events: list[AuditEvent]) -> dict[str, tuple[str, Matches]]:
    """Return searches, each with what it means in Python."""
    with_ip = pick(events, lambda event: event.context.ip is not None and "." in event.context.ip)
    actor, item = with_ip.actor.id, pick(events, lambda event: bool(event.related))
    order = next(entity for entity in item.related)
    since = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=5)
    return {
        "action": ("action:license_reset", lambda e: e.action == "license_reset"),
        "glob": ("action:license.*", lambda e: e.action.startswith("license_")),
        "negated": ("-action:*_updated", lambda e: not e.action.endswith("_updated")),
        "group": ("group:Orders", lambda e: CATALOG.actions[e.action].group == "Orders"),
        "kind": ("kind:deleted", lambda e: CATALOG.actions[e.action].kind == "deleted"),
        "entity": (
            f"entity:{item.entity.type}/{item.entity.id}",
            lambda e: (e.entity.type, e.entity.id) == (item.entity.type, item.entity.id),
        ),
        "item": (
            f"item:{order.type}/{order.id}",
            lambda e: (order.type, order.id) in [(each.type, each.id) for each in (e.entity, *e.related)],
        ),
        "actor": (f"actor:{actor}", lambda e: e.actor.id == actor),
        "ip": (f"ip:{with_ip.context.ip}", lambda e: e.context.ip == with_ip.context.ip),
        "network": ("ip:203.0.113.0/24", lambda e: (e.context.ip or "").startswith("203.0.113.")),
        "request": (
            f"request:{with_ip.context.request_id}",
            lambda e: e.context.request_id == with_ip.context.request_id,
        ),
        "created": (f"created:>={since:%Y-%m-%d}", lambda e: e.occurred_at >= since),
        "change": ("change:seats", lambda e: any(change.field == "seats" for change in e.changes)),
        "several": (
            f"actor:{actor} action:license.*",
            lambda e: e.actor.id == actor and e.action.startswith("license_"),
        ),
    }


@pytest.fixture(scope="module")
def searched(browser: Browser, stage: Stage) -> Iterator[Page]:
    """A page in which one search after the other is typed."""
    context = browser.new_context()
    context.add_cookies([{"name": "auditlog_session", "value": stage.tokens[ACCOUNT], "url": stage.api.url}])
    page = context.new_page()
    page.goto(stage.place())
    yield page
    context.close()


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter(searched: Page, stage: Stage, name: str) -> None:
    known = filters(stage.events)
    assert set(known) == set(FILTERS)
    text, matches = known[name]
    search(searched, text)
    expected = newest_first(event for event in stage.events if matches(event))
    assert 0 < len(expected) < len(stage.events)
    assert total(searched) == len(expected)
    assert shown_ids(searched) == expected[:50]
    expect(searched.locator("#q")).to_have_value(text)


def test_free_text(open_page: Open, stage: Stage) -> None:
    name = next(event.actor.name for event in stage.events if event.actor.name)
    page = open_page()
    search(page, f'"{name}"')
    by_actor = {str(event.event_id) for event in stage.events if event.actor.name == name}
    assert len(by_actor) <= total(page) < len(stage.events)
    assert set(shown_ids(page)) & by_actor


def test_facets_edit_the_search(open_page: Open, stage: Stage) -> None:
    page = open_page()
    facets = page.locator(".facets")
    follow(page, facets.get_by_role("link", name="Licenses"))
    assert query(page.url)["q"] == "group:Licenses"
    follow(page, facets.get_by_role("link", name="Orders"))
    assert query(page.url)["q"] == "group:Licenses,Orders"
    groups = [CATALOG.actions[event.action].group for event in stage.events]
    assert total(page) == sum(group in ("Licenses", "Orders") for group in groups)
    follow(page, facets.get_by_role("link", name="Remove Licenses"))
    assert query(page.url)["q"] == "group:Orders"
    terms = page.get_by_role("list", name="Filters")
    follow(page, terms.get_by_role("link", name="Remove group:Orders"))
    assert "q" not in query(page.url)


def test_quick_ranges_and_dates_edit_the_search(open_page: Open, stage: Stage) -> None:
    page = open_page("/audit-logs?q=action:license.*")
    follow(page, page.get_by_role("link", name="The last 7 days"))
    assert query(page.url)["q"] == "action:license_* created:7d"
    assert 0 < total(page) < len(stage.events)
    expect(page.locator(".ranges [aria-current]")).to_contain_text("7 days")
    page.get_by_text("Search help and dates").click()
    day = stage.events[0].occurred_at.date() + timedelta(days=2)
    page.get_by_label("From").fill(f"{day}T00:00")
    page.get_by_label("Until").fill(f"{day + timedelta(days=1)}T00:00")
    follow(page, page.get_by_role("button", name="Apply"))
    assert query(page.url)["q"] == f"action:license_* created:{day}"
    expected = [
        event
        for event in stage.events
        if event.occurred_at.date() == day and event.action.startswith("license_")
    ]
    assert total(page) == len(expected)


def test_paging_there_and_back(open_page: Open, stage: Stage) -> None:
    text, matches = filters(stage.events)["group"]
    expected = newest_first(event for event in stage.events if matches(event))
    page = open_page(f"/audit-logs?q={text}&rows=25")
    pages = [shown_ids(page)]
    while page.locator("a[rel=next]").count():
        follow(page, page.locator("a[rel=next]"))
        pages.append(shown_ids(page))
    assert len(pages) > 2
    assert [id for ids in pages for id in ids] == expected
    for ids in reversed(pages[:-1]):
        follow(page, page.locator("a[rel=prev]"))
        assert shown_ids(page) == ids
    assert not page.locator("a[rel=prev]").count()
    follow(page, page.locator("a[rel=next]"))
    follow(page, page.get_by_role("link", name="Newest"))
    assert shown_ids(page) == pages[0]


def test_a_bar_leads_to_its_events(open_page: Open) -> None:
    page = open_page()
    bars = page.locator("svg.bars a")
    assert bars.count() > 10
    bar = bars.nth(5)
    events = int(bar.get_attribute("data-events") or "")
    follow(page, bar.locator(".slot"))
    assert total(page) == events


def test_a_brush_zooms_into_a_range(open_page: Open) -> None:
    page = open_page("/audit-logs?q=actor:*")
    box = page.locator("svg.bars").bounding_box()
    slots = page.locator("svg.bars [data-start]")
    assert box is not None
    width = box["width"] / slots.count()
    page.mouse.move(box["x"] + 4.5 * width, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 9.5 * width, box["y"] + 35, steps=4)
    counts = slots.evaluate_all("slots => slots.slice(4, 10).map(slot => Number(slot.dataset.events))")
    expect(page.locator("[data-chart-note]")).to_contain_text(f": {sum(counts)} event")
    with page.expect_navigation():
        page.mouse.up()
    assert query(page.url)["q"].startswith("actor:* created:")
    assert total(page) == sum(counts)


def test_times_are_local_on_demand_and_name_their_zone(open_page: Open, stage: Stage) -> None:
    page = open_page()
    newest = max(event.occurred_at for event in stage.events)
    page.get_by_role("button", name="St Johns").click()
    local = newest - timedelta(hours=3, minutes=30)
    expect(page.locator("tbody time").first).to_have_text(f"{local:%Y-%m-%d %H:%M:%S}")
    expect(page.locator("th").first).to_have_text("Timestamp America/St_Johns")
    assert query(page.url)["zone"] == "local"
    follow(page, page.locator("a[rel=next]"))
    expect(page.locator("th").first).to_have_text("Timestamp America/St_Johns")
    page.get_by_role("button", name="UTC").click()
    expect(page.locator("th").first).to_have_text("Timestamp UTC")
    assert "zone" not in query(page.url)


def test_a_request_id_is_copied(open_page: Open, stage: Stage) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    newest = max((e for e in stage.events if e.context.request_id), key=lambda event: event.occurred_at)
    page.locator(f'tr[data-event="{newest.event_id}"] .copy').click()
    expect(page.locator("#said")).to_have_text("Request ID copied")
    assert page.evaluate("navigator.clipboard.readText()") == newest.context.request_id

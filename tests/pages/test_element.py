"""The element <audit-log> on hosts' pages in a real browser."""

from __future__ import annotations

import re
import sys
import time

import pytest
from playwright.sync_api import Locator, Page, expect

from auditlog_api.pages.shown_text import indented
from auditlog_cli.demo.host.app import Host, host_app
from auditlog_cli.demo.host.server import serving_host
from auditlog_local.ports import free_ports
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.event import AuditEvent
from auditlog_schemas.inert import UNSAFE, inert
from auditlog_storage.filters import Item
from kit.pages_stage import ACCOUNT, HOSTILE, Stage
from pages.driving import Open, follow, newest_first

pytestmark = pytest.mark.integration

CATALOG = load_catalog()


def of_item(stage: Stage, item: Item) -> list[AuditEvent]:
    return [
        event
        for event in stage.events
        if (item.type, item.id) in [(each.type, each.id) for each in (event.entity, *event.related)]
    ]


def busy(stage: Stage, type: str) -> Item:
    """The item of a type with the most events."""
    items = [
        Item(each.type, each.id)
        for event in stage.events
        for each in {entity.id: entity for entity in (event.entity, *event.related)}.values()
        if each.type == type
    ]
    return max(set(items), key=items.count)


def put_element(page: Page, stage: Stage, token: str) -> Locator:
    """Put an element of our own in the place of the host's: nobody answers it."""
    page.evaluate(
        """([item, token]) => {
          const log = document.createElement("audit-log");
          log.setAttribute("item", item);
          log.setAttribute("token", token);
          document.querySelector("audit-log").replaceWith(log);
        }""",
        [stage.story.key, token],
    )
    return page.locator("audit-log")


@pytest.mark.parametrize("type", ["license", "order", "customer", "product"])
def test_each_detail_page_of_the_sample_host_has_the_items_log(
    open_page: Open, stage: Stage, type: str
) -> None:
    item = stage.story if type == "license" else busy(stage, type)
    expected = newest_first(of_item(stage, item))
    page = open_page(f"{stage.host_url}/{item.key}")
    rows = page.locator("audit-log tr.row")
    expect(rows).to_have_count(min(20, len(expected)))
    ids = page.locator("audit-log .open").evaluate_all("all => all.map(one => one.dataset.key)")
    assert ids == expected[:20]


def test_the_sample_hosts_lists_lead_to_details(open_page: Open, stage: Stage) -> None:
    page = open_page(stage.host_url)
    assert page.url == f"{stage.host_url}/{stage.story.key}"
    follow(page, page.get_by_role("link", name="Orders"))
    follow(page, page.locator(".list a").first)
    assert f"{stage.host_url}/order/" in page.url
    follow(page, page.get_by_role("link", name="Settings: Audit logs"))
    assert page.url == stage.place()


def test_load_more_reaches_the_last_event(open_page: Open, stage: Stage) -> None:
    item = busy(stage, "product")
    expected = newest_first(of_item(stage, item))
    page = open_page(f"{stage.host_url}/{item.key}")
    page.locator("audit-log").evaluate("log => log.setAttribute('limit', '5')")
    more = page.get_by_role("button", name="Load more")
    openers = page.locator("audit-log .open")
    expect(openers).to_have_count(5)
    for shown in (*range(10, len(expected), 5), len(expected)):
        more.click()
        expect(openers).to_have_count(shown)
    expect(more).to_have_count(0)
    assert openers.evaluate_all("all => all.map(one => one.dataset.key)") == expected
    expect(page.locator("audit-log footer")).to_contain_text(f"{len(expected)} events, all of them")


def test_a_row_opens_with_sentence_and_changes(open_page: Open, stage: Stage) -> None:
    event = max(
        (each for each in stage.events if each.changes and each.entity.type == "license"),
        key=lambda each: each.occurred_at,
    )
    page = open_page(f"{stage.host_url}/license/{event.entity.id}")
    opener = page.locator(f'audit-log .open[data-key="{event.event_id}"]')
    opener.press("Enter")
    details = page.locator("audit-log tr.details:visible")
    expect(details.locator(".sentence")).to_have_text(CATALOG.sentence(event))
    expect(details.locator("h3").first).to_contain_text(event.changes[0].field)
    expect(opener).to_have_attribute("aria-expanded", "true")
    opener.press("Enter")
    expect(details).to_have_count(0)


def test_the_host_themes_the_element(open_page: Open, stage: Stage) -> None:
    page = open_page(f"{stage.host_url}/{stage.story.key}")
    expect(page.locator("audit-log .frame")).to_have_css("border-radius", "4px")
    # The element draws itself anew when its events are there: what asks must ask again.
    expect(page.locator("audit-log h2")).to_have_css("font-family", re.compile("Georgia"))
    page.evaluate(
        """() => { const sheet = new CSSStyleSheet();
        sheet.replaceSync('audit-log::part(heading) { color: rgb(1, 2, 3); }');
        document.adoptedStyleSheets = [sheet]; }"""
    )
    expect(page.locator("audit-log h2")).to_have_css("color", "rgb(1, 2, 3)")


def test_the_token_is_replaced_before_it_expires(open_page: Open, stage: Stage) -> None:
    page = open_page(f"{stage.host_url}/{stage.story.key}")
    fresh = stage.api.viewer(ACCOUNT, stage.story)
    page.evaluate(
        """(fresh) => {
          window.asked = [];
          document.addEventListener("audit-log-token", ({ detail }) => {
            window.asked.push(detail.item);
            detail.respond(Promise.resolve(fresh));
          });
        }""",
        fresh,
    )
    log = put_element(page, stage, stage.api.viewer(ACCOUNT, stage.story, seconds=4))
    expect(log).to_have_attribute("token", fresh)
    assert page.evaluate("window.asked") == [stage.story.key]
    log.evaluate("log => log.reload()")
    expect(log.locator("tr.row").first).to_be_visible()


def test_the_sample_host_is_asked_for_the_next_token(open_page: Open, stage: Stage) -> None:
    page = open_page(f"{stage.host_url}/{stage.story.key}")
    with page.expect_response("**/audit-log-token?item=*") as answered:
        short = stage.api.viewer(ACCOUNT, stage.story, seconds=2)
        page.locator("audit-log").evaluate("(log, token) => { log.token = token; }", short)
    expect(page.locator("audit-log")).to_have_attribute("token", answered.value.text())


def test_an_expired_token_without_another_is_said(open_page: Open, stage: Stage) -> None:
    page = open_page(f"{stage.host_url}/{stage.story.key}")
    expired = stage.api.viewer(ACCOUNT, stage.story, seconds=1)
    time.sleep(1.1)
    log = put_element(page, stage, expired)
    expect(log.locator("[part=error]")).to_contain_text("this session has ended")
    good = stage.api.viewer(ACCOUNT, stage.story)
    log.evaluate("(log, token) => { log.token = token; }", good)
    expect(log.locator("tr.row").first).to_be_visible()


def test_a_token_of_another_item_shows_nothing(open_page: Open, stage: Stage) -> None:
    page = open_page(f"{stage.host_url}/{stage.story.key}", tolerates="404")
    other = stage.api.viewer(ACCOUNT, Item("license", "another"))
    page.locator("audit-log").evaluate("(log, token) => { log.token = token; log.reload(); }", other)
    expect(page.locator("audit-log [part=error]")).to_contain_text("cannot be shown here")
    expect(page.locator("audit-log tr.row")).to_have_count(0)


def test_an_origin_that_is_not_configured_gets_nothing(open_page: Open, stage: Stage) -> None:
    (port,) = free_ports(1)
    host = Host(stage.vendor, stage.api.url, stage.api.backend.viewer_keys, stage.story)
    with serving_host(host_app(host), port) as url:
        page = open_page(f"{url}/{stage.story.key}", tolerates="")
        expect(page.locator("audit-log [part=error]")).to_contain_text("The log cannot be loaded")
        expect(page.locator("audit-log tr.row")).to_have_count(0)


def test_hostile_text_is_inert_in_the_element(open_page: Open, stage: Stage) -> None:
    for number in range(5):
        item = Item("license", f"a/b {number} '\"&?#%2F")
        page = open_page(f"{stage.host_url}/{stage.story.key}")
        values = {"item": item.key, "token": stage.api.viewer(HOSTILE, item)}
        page.locator("audit-log").evaluate(
            "(log, values) => { for (const name in values) log.setAttribute(name, values[name]); }", values
        )
        expect(page.locator("audit-log tr.row")).to_have_count(1)
        page.locator("audit-log .open").click()
        for fold in page.locator("audit-log details").all():
            fold.evaluate("one => { one.open = true; }")
        text = page.locator("audit-log .frame").evaluate("frame => frame.textContent")
        assert UNSAFE.search(text.replace("\n", "")) is None
        assert page.locator("audit-log :is(script, img, a, iframe)").count() == 0
        assert page.title() != "run"


def test_the_element_and_the_server_write_out_the_same_characters(open_page: Open, stage: Stage) -> None:
    page = open_page()
    found = page.evaluate(
        """async (url) => {
          const { inert } = await import(url);
          const found = [];
          for (let code = 0; code < 0x110000; code += 1) {
            const text = String.fromCodePoint(code);
            if (inert(text) !== text) found.push([code, inert(text)]);
          }
          return found;
        }""",
        f"{stage.api.url}/embed/audit-log.js",
    )
    written = {int(code): text for code, text in found}
    ours = {code: inert(chr(code)) for code in range(sys.maxunicode + 1) if UNSAFE.match(chr(code))}
    # Either may know a newer Unicode; what both know is the same.
    assert len(written.keys() & ours.keys()) > 2_000
    assert {code: text for code, text in written.items() if code in ours} == {
        code: text for code, text in ours.items() if code in written
    }
    assert len(written.keys() ^ ours.keys()) < 20


def test_the_element_and_the_server_indent_alike(open_page: Open, stage: Stage) -> None:
    samples = [
        '{"a":1.10,"a":1e400}',
        "[]",
        '[[],{"b":"x, [y]"}]',
        "nope",
        '"\\u202e"',
        ' { "a" : [ 1 , 2 ] } ',
    ]
    page = open_page()
    lines = page.evaluate(
        "async ([url, samples]) => { const { indented } = await import(url); return samples.map(indented); }",
        [f"{stage.api.url}/embed/audit-log.js", samples],
    )
    assert lines == [indented(sample) for sample in samples]

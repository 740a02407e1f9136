"""axe-core finds no violation of WCAG 2.2 AA: light, dark, narrow, in every state of a page."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from kit.pages_stage import ACCOUNT, EMPTY, HOSTILE, Stage
from pages.driving import Open

pytestmark = pytest.mark.integration

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": {"width": 320, "height": 800}},
}


def violations(page: Page) -> list[str]:
    found = Axe().run(page, options=RULES).response["violations"]
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}" for each in found for node in each["nodes"]
    ]


@pytest.mark.parametrize("look", LOOKS)
def test_the_log_and_its_drawer(open_page: Open, look: str) -> None:
    page = open_page("/audit-logs?q=group:Licenses,Orders", reduced_motion="reduce", **LOOKS[look])
    assert violations(page) == []
    page.locator("tbody tr .cell-actor").first.click()
    expect(page.locator("#drawer .event")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(
    ("path", "account", "status"),
    [
        ("/audit-logs?q=colour:red", ACCOUNT, 400),
        ("/audit-logs?q=action:nothing", ACCOUNT, 200),
        ("/audit-logs", EMPTY, 200),
        ("/audit-logs", HOSTILE, 200),
    ],
    ids=["mistake", "nothing matches", "no events", "hostile"],
)
def test_states(open_page: Open, look: str, path: str, account: str, status: int) -> None:
    page = open_page(path, account, status, tolerates="400", **LOOKS[look])
    assert violations(page) == []


@pytest.mark.parametrize("look", LOOKS)
def test_an_event_an_item_the_keys_and_the_sign_in(open_page: Open, stage: Stage, look: str) -> None:
    page = open_page(f"/audit-logs/{stage.events[-1].event_id}", tolerates="401", **LOOKS[look])
    assert violations(page) == []
    page.goto(stage.place(f"/items/{stage.story.key}"))
    page.keyboard.press("?")
    assert violations(page) == []
    page.context.clear_cookies()
    page.goto(stage.place())
    expect(page.get_by_role("heading")).to_have_text("Sign in")
    assert violations(page) == []


@pytest.mark.parametrize("look", LOOKS)
def test_the_element_on_a_hosts_page(open_page: Open, stage: Stage, look: str) -> None:
    page = open_page(f"{stage.host_url}/{stage.story.key}", **LOOKS[look])
    page.locator("audit-log .open").first.click()
    expect(page.locator("audit-log .sentence")).to_be_visible()
    assert violations(page) == []

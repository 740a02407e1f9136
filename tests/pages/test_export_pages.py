"""Exports in a real browser: begun with the filter of the page, watched, downloaded, cancelled, deleted."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from auditlog_api.pages.export_pages import duration_words, size_words
from kit.pages_stage import ACCOUNT, EMPTY, Stage
from pages.driving import Open, follow
from pages.test_accessibility import LOOKS, violations

integration = pytest.mark.integration


def begin(page: Page, **chosen: str) -> None:
    page.get_by_text("Export", exact=True).click()
    for name, value in chosen.items():
        page.locator(f".export-form [name={name}]").select_option(value)
    with page.expect_navigation():
        page.get_by_role("button", name="Begin export").click()


@integration
def test_an_export_carries_the_filter_and_shows_how_it_gets_on(
    open_page: Open, stage: Stage, tmp_path: Path
) -> None:
    page = open_page("/audit-logs?q=action:license_reset,license_created")
    begin(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Export of the log")
    expect(page.locator("header code")).to_have_text("action:license_reset,license_created")
    expect(page.locator(".kind")).to_have_text("Waiting for a worker")
    stage.work_once()
    # The page finds out by itself.
    expect(page.locator(".kind")).to_have_text("Finished")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    with path.open(encoding="utf-8", newline="") as file:
        exported = {row["event_id"] for row in csv.DictReader(file)}
    wanted = {
        str(event.event_id) for event in stage.events if event.action in ("license_reset", "license_created")
    }
    assert exported == wanted
    assert wanted
    expect(page.locator(".total")).to_have_text(f"{len(wanted):,}")
    page.get_by_text("Parts", exact=True).click()
    manifest = json.loads(
        page.context.request.get(page.get_by_role("link", name="Manifest").evaluate("a => a.href")).text()
    )
    assert page.locator(".parts code").all_inner_texts() == [part["sha256"] for part in manifest["parts"]]


@integration
def test_an_item_is_exported_without_javascript(open_page: Open, stage: Stage) -> None:
    page = open_page(f"/items/{stage.story.key}", java_script_enabled=False)
    begin(page, format="jsonl", compression="zstd")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Export of {stage.story.key}")
    stage.work_once()
    page.reload()
    expect(page.locator(".kind")).to_have_text("Finished")
    expect(page.locator(".event-action .muted")).to_have_text("JSON lines, zstd")
    events = [
        event
        for event in stage.events
        if stage.story.key in {f"{each.type}/{each.id}" for each in (event.entity, *event.related)}
    ]
    expect(page.locator(".total")).to_have_text(f"{len(events):,}")


@integration
def test_an_export_is_cancelled_and_deleted(open_page: Open, stage: Stage) -> None:
    page = open_page(account=EMPTY)
    page.get_by_text("Export", exact=True).click()
    follow(page, page.get_by_role("link", name="All exports"))
    expect(page.get_by_role("heading", name="No exports")).to_be_visible()
    page.go_back()
    begin(page)
    follow(page, page.get_by_role("button", name="Cancel"))
    stage.work_once()
    expect(page.locator(".kind")).to_have_text("Cancelled")
    follow(page, page.get_by_role("link", name="Exports"))
    expect(page.locator(".exports li")).to_have_count(1)
    follow(page, page.locator(".exports a"))
    follow(page, page.get_by_role("button", name="Delete"))
    expect(page.get_by_role("heading", name="No exports")).to_be_visible()


@integration
def test_begun_twice_by_one_form_it_is_one_export(open_page: Open) -> None:
    page = open_page(account=EMPTY)
    key = page.locator(".export-form [name=key]").input_value()
    begin(page)
    first = page.url
    page.go_back()
    page.get_by_text("Export", exact=True).click()
    page.locator(".export-form [name=key]").evaluate("(field, key) => { field.value = key }", key)
    follow(page, page.get_by_role("button", name="Begin export"))
    assert page.url == first
    follow(page, page.get_by_role("button", name="Cancel"))


@integration
def test_who_may_not_export_is_shown_no_button(open_page: Open, stage: Stage) -> None:
    page = open_page()
    token = stage.api.token(ACCOUNT)
    page.context.clear_cookies()
    page.context.add_cookies([{"name": "auditlog_session", "value": token, "url": stage.api.url}])
    page.reload()
    expect(page.locator("tbody tr").first).to_be_visible()
    expect(page.get_by_text("Export", exact=True)).to_have_count(0)
    answer = page.context.request.get(stage.place("/exports"))
    assert answer.status == 403


@integration
def test_a_form_of_another_site_begins_nothing(open_page: Open, stage: Stage) -> None:
    page = open_page(account=EMPTY)
    answer = page.context.request.post(
        stage.place("/exports", EMPTY), form={"q": ""}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status == 401


@integration
@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_wrong(open_page: Open, stage: Stage, look: str) -> None:
    page = open_page("/audit-logs?q=action:order_created", **LOOKS[look])
    page.get_by_text("Export", exact=True).click()
    assert violations(page) == []
    with page.expect_navigation():
        page.get_by_role("button", name="Begin export").click()
    assert violations(page) == []
    stage.work_once()
    expect(page.locator(".kind")).to_have_text("Finished")
    page.get_by_text("Parts", exact=True).click()
    assert violations(page) == []
    follow(page, page.get_by_role("link", name="Exports"))
    assert violations(page) == []


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1 kB"),
        (1_234_567, "1.23 MB"),
        (999_600, "1 MB"),
        (5 * 10**15, "5,000 TB"),
    ],
)
def test_sizes(size: int, words: str) -> None:
    assert size_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 second"), (59, "59 seconds"), (90, "2 minutes"), (3_600, "1 hour"), (200_000, "2 days")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words

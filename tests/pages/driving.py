"""Short ways to ask a page what it shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page

from auditlog_schemas.event import AuditEvent

Open = Callable[..., Page]
"""Opens a page of an account, see `open_page` in conftest.py."""


def shown_ids(page: Page) -> list[str]:
    """Return the ids of the events in the table, as they stand there."""
    ids = page.locator("tbody tr[data-event]").evaluate_all("rows => rows.map(row => row.dataset.event)")
    return [str(id) for id in ids]


def total(page: Page) -> int:
    """Return how many events the page says there are."""
    found = re.match(r"[\d,]+", page.locator(".total").inner_text())
    assert found is not None
    return int(found[0].replace(",", ""))


def search(page: Page, text: str) -> None:
    """Type a search and press Enter."""
    page.locator("#q").fill(text)
    with page.expect_navigation():
        page.locator("#q").press("Enter")


def follow(page: Page, link: Locator) -> None:
    """Click a link and wait until the page that it leads to is there."""
    with page.expect_navigation():
        link.click()


def query(url: str) -> dict[str, str]:
    """Return the parameters of a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def newest_first(events: Iterable[AuditEvent]) -> list[str]:
    """Return the ids of events in the order of a log; no two of them are of the same time."""
    ordered = sorted(events, key=lambda event: event.occurred_at, reverse=True)
    return [str(event.event_id) for event in ordered]

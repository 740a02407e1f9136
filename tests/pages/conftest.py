"""One server for all tests of the pages, and one browser for each file of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from kit.chromium import MISSING, chromium_path, running_chromium
from kit.pages_stage import ACCOUNT, Stage, pages_stage
from pages.driving import Open

EVENTS_A_DAY = 40


@pytest.fixture(scope="session")
def stage(clickhouse_url: str) -> Iterator[Stage]:
    url = urlunsplit(urlsplit(clickhouse_url)._replace(path=f"/pages_{uuid4().hex}"))
    with pages_stage(url, EVENTS_A_DAY) as served:
        yield served


# For one file: while Playwright is there, its event loop counts as running, and no test could run its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        pytest.skip(MISSING)
    with running_chromium(path) as started:
        yield started


@pytest.fixture
def open_page(stage: Stage, browser: Browser) -> Iterator[Open]:
    """Opens pages signed in to an account. Whatever the browser complains about fails the test.

    Arguments: the path behind the account's, or a whole URL; the account; the status to expect; a text in
    complaints that are expected (the empty text is in all); and anything of a browser's context.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open(
        path: str = "/audit-logs",
        account: str = ACCOUNT,
        expect: int = 200,
        tolerates: str | None = None,
        **context: Any,
    ) -> Page:
        def complain(text: str) -> None:
            if tolerates is None or tolerates not in text:
                complaints.append(text)

        given = {"viewport": {"width": 1280, "height": 900}, "timezone_id": "America/St_Johns"} | context
        made = browser.new_context(**given)
        made.set_default_timeout(15_000)
        contexts.append(made)
        made.add_cookies([{"name": "auditlog_session", "value": stage.tokens[account], "url": stage.api.url}])
        page = made.new_page()
        page.on("pageerror", lambda error: complain(str(error)))
        page.on("console", lambda said: complain(said.text) if said.type == "error" else None)
        answer = page.goto(path if path.startswith("http") else stage.place(path, account))
        assert answer is not None
        assert answer.status == expect
        return page

    yield open
    for context in contexts:
        context.close()
    assert complaints == []

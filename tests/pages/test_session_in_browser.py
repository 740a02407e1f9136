"""Sessions in a real browser over HTTPS: its own rules for cookies, and another site's attempts."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from kit.certificates import Authority
from kit.pages_stage import ACCOUNT, Stage
from kit.served_api import serving

pytestmark = pytest.mark.integration

EVIL = "https://evil.example/"


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.close()


@contextmanager
def tls_before(url: str, folder: Path) -> Iterator[str]:
    """Speak TLS in front of a server while inside, as a proxy does that adds no headers."""
    certificate = Authority("tests").sign("127.0.0.1", "127.0.0.1")
    (folder / "both.pem").write_text(certificate.pem + certificate.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "both.pem")
    behind = urlsplit(url)
    address: Future[int] = Future()
    over = threading.Event()

    writers: list[asyncio.StreamWriter] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection(behind.hostname, behind.port)
        writers.extend((writer, back_writer))
        await asyncio.gather(_relay(reader, back_writer), _relay(back_reader, writer))

    async def serve() -> None:
        server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
        address.set_result(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(over.wait)
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.1)

    # In a thread: Playwright's own loop counts as running in this one.
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield f"https://127.0.0.1:{address.result(10)}"
    finally:
        over.set()
        thread.join(10)


@pytest.fixture(scope="module")
def over_https(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    database = stage.api.connection.settings.url.get_secret_value()
    folder = tmp_path_factory.mktemp("tls")
    with serving(database, behind_https=True) as api, tls_before(api.url, folder) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


def cookies(page: Page) -> dict[str, object]:
    return {found["name"]: found.get("secure") for found in page.context.cookies()}


def test_a_browser_keeps_the_cookie_and_signs_out_of_it(page: Page, stage: Stage, over_https: str) -> None:
    page.goto(f"{over_https}/accounts/{ACCOUNT}/audit-logs")
    page.get_by_label("Token").fill(stage.tokens[ACCOUNT])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit logs")
    assert cookies(page) == {"__Host-auditlog_session": True}
    page.evaluate("() => fetch('/sign-out', {method: 'POST', redirect: 'manual'})")
    assert cookies(page) == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_on_this_machine_the_form_works_without_https(page: Page, stage: Stage, host: str) -> None:
    url = stage.api.url.replace("127.0.0.1", host)
    page.goto(f"{url}/accounts/{ACCOUNT}/audit-logs")
    page.get_by_label("Token").fill(stage.tokens[ACCOUNT])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit logs")
    assert cookies(page) == {"auditlog_session": False}


@pytest.mark.parametrize("where", ["/sign-in", "/sign-out"])
def test_another_sites_form_changes_no_session(page: Page, stage: Stage, over_https: str, where: str) -> None:
    page.goto(f"{over_https}/sign-in?token={stage.tokens[ACCOUNT]}&next=/accounts/{ACCOUNT}/audit-logs")
    before = page.context.cookies()
    form = (
        f'<form method="post" action="{over_https}{where}">'
        f'<input name="token" value="{stage.api.token("acc_of_the_attacker")}"></form>'
    )
    page.route(EVIL, lambda route: route.fulfill(body=form, content_type="text/html"))
    page.goto(EVIL)
    with page.expect_response(over_https + where) as answer:
        page.evaluate("() => document.forms[0].submit()")
    assert answer.value.status == 403
    assert page.context.cookies() == before


def test_a_neighbours_cookie_opens_nothing(page: Page, stage: Stage, over_https: str) -> None:
    page.context.add_cookies(
        [{"name": "auditlog_session", "value": stage.tokens[ACCOUNT], "url": over_https, "secure": True}]
    )
    answer = page.goto(f"{over_https}/accounts/{ACCOUNT}/audit-logs")
    assert answer is not None
    assert answer.status == 401

"""Connections that let the server wait: they end in time, and they keep nobody else out."""

from __future__ import annotations

import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from auditlog_api import protocol
from auditlog_schemas.catalog import Catalog
from kit.api_process import api_process
from kit.served_api import ServedApi, serving
from storage.event_log import Log

pytestmark = pytest.mark.integration

CONNECTIONS_MAX = 30
AT_A_TIME = 20
"""Fewer than may be answered at once: none of them is refused for that."""
LARGE_BYTES = 300 * 30_000
FORM = b"POST /sign-in HTTP/1.1\r\nhost: x\r\nsec-fetch-site: same-origin\r\n"
BODIES = {
    "with a length": FORM + b"content-length: 1000\r\n\r\ntoken=",
    "in chunks": FORM + b"transfer-encoding: chunked\r\n\r\n6\r\ntoken=\r\n",
    "announced": FORM + b"content-length: 1000\r\nexpect: 100-continue\r\n\r\n",
    "after another": b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n" + FORM + b"content-length: 1000\r\n\r\ntoken=",
    "of no form": b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n",
    "too large": FORM + b"content-length: 100000000\r\n\r\ntoken=",
}
LIVE = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def small(database_url: str, catalog: Catalog) -> Iterator[ServedApi]:
    with serving(
        database_url, catalog, connections_max=CONNECTIONS_MAX, account_tails_max=CONNECTIONS_MAX
    ) as served:
        yield served


@pytest.fixture
def large(small: ServedApi, log: Log) -> bytes:
    """A request whose answer is larger than what the kernel holds, after which the connection is closed."""
    metadata = {f"field_{number}": "x" * 1_000 for number in range(30)}
    log.store(*(log.event(account_id="acc_large", metadata=metadata) for _ in range(300)))
    lines = f"authorization: Bearer {small.token('acc_large')}\r\nconnection: close\r\n"
    return f"GET /v1/accounts/acc_large/events?limit=300 HTTP/1.1\r\nhost: x\r\n{lines}\r\n".encode()


@contextmanager
def opened(served: ServedApi, beginning: bytes, receives: int | None = None) -> Iterator[socket.socket]:
    at = urlsplit(served.url)
    with socket.socket() as raw:
        if receives:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        raw.settimeout(30)
        raw.connect((str(at.hostname), int(at.port or 0)))
        raw.sendall(beginning)
        yield raw


def until_end(raw: socket.socket) -> bytes:
    """Return all that still comes; fails when the connection is not ended within its timeout."""
    received = b""
    try:
        while piece := raw.recv(100_000):
            received += piece
    except ConnectionError:
        pass
    return received


def ended(served: ServedApi, why: str) -> float:
    found = re.search(rf'connections_ended_total{{why="{why}"}} (\S+)', served.get("/metrics").text)
    assert found
    return float(found[1])


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_that_does_not_come_is_not_waited_for(
    small: ServedApi, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setitem(protocol.SECONDS_MAX, "body", 0.5)
    monkeypatch.setitem(protocol.SECONDS_MAX, "rest", 0.5)
    with opened(small, BODIES[kind]) as raw:
        received = until_end(raw)
    if kind in ("of no form", "too large"):
        assert received.startswith(b"HTTP/1.1 200" if kind == "of no form" else b"HTTP/1.1 413")
        assert b"408" not in received
    else:
        assert b"HTTP/1.1 408 Request Timeout\r\n" in received
        assert b"urn:auditlog:problem:request-timeout" in received


def test_a_body_that_trickles_has_no_more_time_than_another(
    small: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(protocol.SECONDS_MAX, "body", 2.0)
    with opened(small, BODIES["with a length"]) as raw:
        began = time.monotonic()
        while not select.select([raw], [], [], 0.1)[0]:
            raw.sendall(b"x")
            assert time.monotonic() - began < 30, "each byte buys more time"
        assert until_end(raw).startswith(b"HTTP/1.1 408")


def test_a_connection_that_is_half_closed_ends(small: ServedApi) -> None:
    for beginning in (b"", LIVE[:20], BODIES["with a length"]):
        with opened(small, beginning) as raw:
            raw.shutdown(socket.SHUT_WR)
            assert b"200" not in until_end(raw)


@pytest.mark.parametrize("beginning", [b"", LIVE[:20], LIVE, *BODIES.values()])
def test_slow_connections_without_a_token_keep_nobody_out(
    small: ServedApi, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    """More of them than there may be connections, and all within their time."""
    for what in ("head", "body", "rest"):
        monkeypatch.setitem(protocol.SECONDS_MAX, what, 600.0)
    token, before = small.token(), ended(small, "gave_way")
    with ExitStack() as held:
        for number in range(2 * (CONNECTIONS_MAX + protocol.SPARE)):
            held.enter_context(opened(small, beginning))
            if number % AT_A_TIME == 0:
                assert asked(small, "/livez") == asked(small, "/readyz") == 200
                assert asked(small, "/v1/accounts/acc_1/events", token) == 200
        assert ended(small, "gave_way") >= before + CONNECTIONS_MAX + protocol.SPARE


def test_where_all_that_may_be_are_answered_the_state_can_still_be_asked(small: ServedApi) -> None:
    token = small.token()
    tail = f"GET /v1/accounts/acc_1/events/tail HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
    with ExitStack() as held:
        for _ in range(CONNECTIONS_MAX):
            followed = held.enter_context(opened(small, tail.encode()))
            assert followed.recv(100).startswith(b"HTTP/1.1 200")
        for _ in range(2 * protocol.SPARE):
            held.enter_context(opened(small, BODIES["with a length"]))
        assert [asked(small, path) for path in ("/livez", "/readyz", "/metrics")] == [200] * 3
        refused = httpx.get(f"{small.url}/v1/actions", trust_env=False, timeout=30)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:auditlog:problem:busy")
        assert (refused.headers["connection"], refused.headers["retry-after"]) == ("close", "2")
    wait_until(lambda: asked(small, "/v1/accounts/acc_1/events", token) == 200)


def test_who_reads_nothing_of_an_answer_is_let_go_and_who_reads_slowly_has_all_of_it(
    small: ServedApi, large: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "UNREAD_SECONDS_MAX", 4.0)
    before = ended(small, "unread")
    with opened(small, large, 4_096) as never, opened(small, large, 65_536) as slowly:
        # A request is under way until the last of its answer could be sent.
        wait_until(lambda: small.backend.requests.taken == 2)
        received, began = 0, time.monotonic()
        while time.monotonic() - began < 9:
            received += len(slowly.recv(20_000))
            time.sleep(0.1)
        wait_until(lambda: ended(small, "unread") == before + 1)
        assert received + len(until_end(slowly)) > LARGE_BYTES
        assert len(until_end(never)) < LARGE_BYTES
    wait_until(lambda: small.backend.requests.taken == 0)


def test_slow_bodies_take_a_bounded_amount_of_memory(database_url: str, tmp_path: Path) -> None:
    with api_process(database_url, tmp_path / "log") as api, ExitStack() as held:
        api.client.get("/readyz")
        before, at = api.peak_bytes(), urlsplit(str(api.client.base_url))
        for _ in range(500):
            raw = held.enter_context(socket.create_connection((str(at.hostname), int(at.port or 0)), 30))
            raw.setblocking(False)
            raw.sendall(BODIES["with a length"].replace(b"1000", b"65536"))
            with suppress(BlockingIOError, ConnectionError):
                raw.send(b"x" * 60_000)
        assert api.client.get("/readyz").status_code == 200
        grown = api.peak_bytes() - before
        assert grown < 150 * 1024 * 1024, f"{grown} bytes for 500 connections"


def asked(served: ServedApi, path: str, token: str = "") -> int:
    """Ask on a new connection, as a probe does; return the status."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.get(served.url + path, headers=headers, trust_env=False, timeout=30).status_code


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(("limits", "said"), [((300, 4_000), "2000\n"), ((300, 500), "AUDITLOG_API_CONN")])
def test_the_files_that_connections_need_are_allowed_for_or_it_says_so(
    limits: tuple[int, int], said: str
) -> None:
    run = (
        "import resource; from auditlog_api.server import allow_files\n"
        "from auditlog_api.settings import ApiSettings\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, {limits})\n"
        "try: allow_files(ApiSettings.load(connections_max=1288))\n"
        "except Exception as error: print(error)\n"
        "else: print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(said)

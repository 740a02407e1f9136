"""What busy accounts and busy browsers leave to the others, over HTTP and a real ClickHouse."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from auditlog_api import metrics
from auditlog_schemas.catalog import Catalog
from kit.held_clickhouse import HeldClickHouse, held_clickhouse
from kit.served_api import ServedApi, serving

pytestmark = pytest.mark.integration

LONG_SECONDS = 2.0
WAIT_SECONDS = 8.0


@pytest.fixture(scope="module")
def held(database_url: str, catalog: Catalog) -> Iterator[tuple[ServedApi, HeldClickHouse]]:
    """An API with the limits that it has unless told otherwise, but for how long somebody waits."""
    with (
        held_clickhouse(database_url) as (url, door),
        serving(url, catalog, wait_seconds_max=WAIT_SECONDS) as served,
    ):
        yield served, door


def ask(api: ServedApi, account: str, token: str) -> tuple[int, float]:
    """Send a request over a connection of its own; return status and seconds of the answer."""
    at = urlsplit(api.url)
    connection = HTTPConnection(str(at.hostname), at.port, timeout=60)
    began = time.monotonic()
    connection.request("GET", f"/v1/accounts/{account}/events", headers={"Authorization": f"Bearer {token}"})
    status = connection.getresponse().status
    connection.close()
    return status, time.monotonic() - began


def asked(api: ServedApi, account: str, token: str, count: int) -> list[tuple[int, float]]:
    """Send so many requests at once."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: ask(api, account, token), range(count)))


@contextmanager
def asking(api: ServedApi, account: str, token: str, count: int) -> Iterator[list[int]]:
    """Ask again and again with so many clients while inside; the statuses come into the list."""
    over, found = threading.Event(), list[int]()

    def go_on() -> None:
        while not over.is_set():
            status, _ = ask(api, account, token)
            found.append(status)
            over.wait(0.2 if status == 429 else 0)

    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(go_on)
        try:
            time.sleep(0.5)
            yield found
        finally:
            over.set()


def test_two_accounts_with_slow_queries_leave_a_third_one_its_share(
    held: tuple[ServedApi, HeldClickHouse],
) -> None:
    api, door = held
    door.held = {b"acc_slow": LONG_SECONDS}
    quick = api.token("acc_quick")
    with (
        asking(api, "acc_slow_1", api.token("acc_slow_1"), 12) as first,
        asking(api, "acc_slow_2", api.token("acc_slow_2"), 12) as second,
    ):
        time.sleep(LONG_SECONDS)
        rounds = [asked(api, "acc_quick", quick, 8) for _ in range(3)]
    answers = [answer for each in rounds for answer in each]
    assert Counter(status for status, _ in answers) == {200: 24}
    assert {200} <= set(first) & set(second), "the busy ones are answered, too"


def test_a_viewer_token_leaves_the_vendors_program_its_share(
    held: tuple[ServedApi, HeldClickHouse],
) -> None:
    api, door = held
    door.held = {}
    account = "acc_vendor"
    program, user = api.token(account), api.viewer(account)
    assert asked(api, account, program, 1)[0][0] == 200
    door.held = {b"WHERE": 0.5}
    refused = metrics.REFUSED.labels("account_busy")
    before = refused._value.get()
    with asking(api, account, user, 50) as of_user:
        answers = asked(api, account, program, 8)
        other = asked(api, account, api.viewer(account), 2)
    assert Counter(status for status, _ in [*answers, *other]) == {200: 10}
    assert Counter(of_user)[429] >= 1, "one browser may have half of the places"
    assert refused._value.get() > before


def hang_up(api: ServedApi, path: str, token: str) -> None:
    """Send a request and go away while it is answered."""
    at = urlsplit(api.url)
    with socket.create_connection((str(at.hostname), at.port or 0), timeout=60) as connection:
        lines = (f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", "", "")
        connection.sendall("\r\n".join(lines).encode())
        time.sleep(0.3)


def followers(api: ServedApi, account: str, token: str, count: int) -> list[socket.socket]:
    """Follow the account's log until it is refused, at most so often; return the connections."""
    at = urlsplit(api.url)
    found: list[socket.socket] = []
    lines = (f"GET /v1/accounts/{account}/events/tail HTTP/1.1", "Host: x", f"Authorization: Bearer {token}")
    for _ in range(count):
        connection = socket.create_connection((str(at.hostname), at.port or 0), timeout=60)
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        if b" 200 " not in connection.recv(1 << 16).partition(b"\r\n")[0]:
            connection.close()
            break
        found.append(connection)
    return found


def under_way(api: ServedApi) -> int:
    """Return what is taken of all that there is only so much of."""
    backend = api.backend
    turns = backend.queries._turns
    return backend.requests.taken + backend.tails._open.taken + turns.running + turns.waiting


def come_to_rest(api: ServedApi) -> int:
    """Wait until nothing is taken; return what still is after a minute."""
    until = time.monotonic() + 60
    while under_way(api) and time.monotonic() < until:
        time.sleep(0.05)
    return under_way(api)


def test_one_viewer_token_that_follows_logs_leaves_room_to_the_others(
    held: tuple[ServedApi, HeldClickHouse],
) -> None:
    api, door = held
    door.held = {}
    account = "acc_followed"
    most = api.backend.settings.account_tails_max
    first = followers(api, account, api.viewer(account, seconds=500), most)
    try:
        assert len(first) == max(1, most // 2)
        other = followers(api, account, api.viewer(account, seconds=400), 1)
        program = followers(api, account, api.token(account), 1)
        first += [*other, *program]
        assert (len(other), len(program)) == (1, 1)
        assert ask(api, account, api.token(account))[0] == 200
    finally:
        for each in first:
            each.close()
    assert come_to_rest(api) == 0


def test_whoever_goes_away_or_is_refused_gives_the_place_back(
    held: tuple[ServedApi, HeldClickHouse],
) -> None:
    api, door = held
    account = "acc_gone"
    events = f"/v1/accounts/{account}/events"
    token = api.token(account, "export")
    door.held = {b"acc_gone": 0.5}
    paths = [events, f"{events}/tail", f"{events}?format=csv", f"{events}?no=such", "/v1/accounts/b/events"]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda path: hang_up(api, path, token), paths * 8))
    door.held = {}
    assert come_to_rest(api) == 0
    assert [ask(api, account, token)[0] for _ in range(3)] == [200] * 3
    for path, status in ((f"{events}?no=such", 400), ("/v1/accounts/other/events", 404)):
        assert api.get(path, token).status_code == status
    assert come_to_rest(api) == 0

"""Tokens are guessed over HTTP, from one address and from many, while rightful ones are used."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from auditlog_api.guesses import MISSES_MAX
from auditlog_api.token_text import new_token, token_sha256
from auditlog_schemas.catalog import Catalog
from auditlog_schemas.errors import StorageUnavailable
from auditlog_storage.tokens import Token
from kit.served_api import ServedApi, serving

pytestmark = pytest.mark.integration

PAGE = "/v1/accounts/acc_1/events"


def rss() -> int:
    """Return the bytes of memory that this process, which the server is in, has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


@pytest.fixture
def served(database_url: str, catalog: Catalog) -> Iterator[ServedApi]:
    with serving(database_url, catalog, token_kept_seconds=0.2) as api:
        yield api


def client(api: ServedApi, address: str) -> httpx.Client:
    transport = httpx.HTTPTransport(local_address=address)
    return httpx.Client(base_url=api.url, transport=transport, timeout=60)


def ask(http: httpx.Client, token: str, **headers: str) -> int:
    return http.get(PAGE, headers={"Authorization": f"Bearer {token}"} | headers).status_code


@contextmanager
def guessing(api: ServedApi, addresses: list[str]) -> Iterator[Counter[int]]:
    """Guess from each address, as fast as answers come, while inside."""
    over, statuses = threading.Event(), Counter[int]()

    def guess(address: str) -> None:
        with client(api, address) as http:
            while not over.is_set():
                statuses[ask(http, new_token())] += 1

    threads = [threading.Thread(target=guess, args=(address,)) for address in addresses]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join(30)


def slow_tokens(api: ServedApi, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let each look-up in ClickHouse take so much longer."""
    find = api.backend.tokens.find

    def slow(sha256: str) -> Token | None:
        time.sleep(seconds)
        return find(sha256)

    monkeypatch.setattr(api.backend.tokens, "find", slow)


@pytest.mark.parametrize("addresses", [["127.0.0.2"] * 12, [f"127.0.0.{last}" for last in range(10, 22)]])
def test_no_rightful_token_is_refused_while_others_guess(
    served: ServedApi, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    known = [served.token() for _ in range(5)]
    new = [served.token() for _ in range(20)]
    rightful: list[int] = [served.get(PAGE, token).status_code for token in known]
    slow_tokens(served, monkeypatch, 0.02)
    before = rss()
    with guessing(served, addresses) as guessed, client(served, "127.0.0.3") as http:
        # Until the guessers are under way.
        while sum(guessed.values()) < 50:
            time.sleep(0.01)
        for token in new:
            rightful += [ask(http, token), *(ask(http, each) for each in known)]
            assert http.get("/readyz").status_code == 200
    assert rightful == [200] * (5 + 20 * 6)
    assert set(guessed) <= {401, 429}
    assert rss() - before < 50_000_000


def test_an_address_has_so_many_misses_whatever_it_says_of_itself(served: ServedApi) -> None:
    known = served.token()
    with client(served, "127.0.0.4") as http:
        assert ask(http, known) == 200
        statuses = [ask(http, new_token(), **{"X-Forwarded-For": f"192.0.2.{n}"}) for n in range(90)]
        allowed = statuses.count(401)
        # Some are forgotten while a slow machine asks.
        assert MISSES_MAX <= allowed < 90
        assert set(statuses) == {401, 429}
        assert ask(http, known) == 200, "a token that is known is refused for the guesses of others"
        refused = http.get(PAGE, headers={"Authorization": f"Bearer {new_token()}"})
        assert refused.status_code in (401, 429)
    # A proxy that is trusted speaks for others: each of them has misses of its own.
    behind = {"X-Forwarded-For": "192.0.2.77"}
    assert served.get(PAGE, new_token(), headers=behind).status_code == 401


def test_a_known_token_outlives_a_clickhouse_that_is_slow_or_away(
    served: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, revoked = served.token(), served.token()
    assert [served.get(PAGE, token).status_code for token in (known, revoked)] == [200, 200]
    down = threading.Event()
    find = served.backend.tokens.find

    def held(sha256: str) -> Token | None:
        if down.wait(3):
            raise StorageUnavailable("ClickHouse is away")
        return find(sha256)

    monkeypatch.setattr(served.backend.tokens, "find", held)
    time.sleep(0.3)
    assert served.get(PAGE, known).status_code == 200, "slow"
    down.set()
    assert served.get(PAGE, known).status_code == 200, "away"
    served.loop.call_soon_threadsafe(served.backend.known_tokens.forget, token_sha256(revoked))
    assert served.get(PAGE, revoked).status_code == 503, "what this process revoked is not believed"
    monkeypatch.setattr("auditlog_api.known_tokens.OUTLIVES_SECONDS", 0.0)
    time.sleep(0.3)
    assert served.get(PAGE, known).status_code == 503, "believed for ever"

"""Limits, headers and origins: what every request passes and every answer carries."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from auditlog_api import protocol
from auditlog_schemas.catalog import Catalog
from kit.served_api import ServedApi, serving
from storage.event_log import Log

pytestmark = pytest.mark.integration

ORIGIN = "https://app.example.com"
PAGE = "/v1/accounts/acc_1/events"


@pytest.fixture(scope="module")
def narrow(database_url: str, catalog: Catalog) -> Iterator[ServedApi]:
    """An API with narrow limits, and one origin."""
    with serving(
        database_url,
        catalog,
        queries_max=3,
        account_queries_max=1,
        account_requests_max=3,
        wait_seconds_max=2.0,
        request_bytes_max=2_000,
        url_bytes_max=2_000,
        header_bytes_max=4_000,
        cors_origins=(ORIGIN,),
    ) as served:
        yield served


def test_an_account_that_asks_too_much_at_once_is_told_when_to_come_back(narrow: ServedApi) -> None:
    token = narrow.token("acc_1")
    with narrow.busy("acc_1", 3):
        answer = narrow.get(PAGE, token)
        other = narrow.get("/v1/accounts/acc_2/events", narrow.token("acc_2"))
    assert (answer.status_code, answer.json()["type"]) == (429, "urn:auditlog:problem:too-many-requests")
    assert int(answer.headers["retry-after"]) >= 1
    assert other.status_code == 200, "another account has to wait for the first one"
    assert narrow.get(PAGE, token).status_code == 200


def test_who_waits_too_long_is_told_so(narrow: ServedApi) -> None:
    with narrow.busy("acc_1"):
        answer = narrow.get(PAGE, narrow.token("acc_1"))
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:auditlog:problem:busy")
    assert int(answer.headers["retry-after"]) >= 1


def test_who_waits_a_little_is_answered(narrow: ServedApi) -> None:
    token = narrow.token("acc_1")
    with ThreadPoolExecutor(1) as pool, narrow.busy("acc_1"):
        waiting = pool.submit(narrow.get, PAGE, token)
    assert waiting.result().status_code == 200


def test_a_body_that_is_too_large_is_refused(narrow: ServedApi) -> None:
    admin = narrow.token("acc_1", "admin")
    path = "/v1/accounts/acc_1/tokens"
    body = b'{"scope": "read", "name": "' + b"x" * 3_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    named = narrow.ask("POST", path, admin, headers, content=body)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 500):
            yield body[start : start + 500]

    unnamed = narrow.ask("POST", path, admin, headers, content=pieces())
    for answer in (named, unnamed):
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


def test_an_address_that_is_too_long_is_refused(narrow: ServedApi) -> None:
    answer = narrow.get(f"{PAGE}?actor={'x' * 2_500}", narrow.token())
    assert (answer.status_code, answer.json()["type"]) == (414, "urn:auditlog:problem:url-too-long")


def test_headers_that_are_too_large_are_refused(narrow: ServedApi) -> None:
    answer = narrow.get(PAGE, narrow.token(), headers={"X-Much": "x" * 4_000})
    assert (answer.status_code, answer.json()["type"]) == (431, "urn:auditlog:problem:headers-too-large")


def test_a_method_that_there_is_not_names_those_there_are(narrow: ServedApi) -> None:
    answer = narrow.ask("PUT", "/v1/accounts/acc_1/tokens", narrow.token())
    assert (answer.status_code, answer.json()["type"]) == (405, "urn:auditlog:problem:method-not-allowed")
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "path", [PAGE, "/nowhere", "/livez", "/metrics", "/openapi.json", f"{PAGE}?x=1", "/v1/actions", "/%00"]
)
def test_every_answer_has_the_security_headers(narrow: ServedApi, path: str) -> None:
    headers = narrow.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers
    assert "strict-transport-security" not in headers


def test_behind_https_browsers_are_told_to_stay_there(database_url: str, catalog: Catalog) -> None:
    with serving(database_url, catalog, behind_https=True) as served:
        assert "max-age" in served.get("/livez").headers["strict-transport-security"]
        trusted = served.get("/livez", headers={"X-Forwarded-Proto": "https"})
        assert "max-age" in trusted.headers["strict-transport-security"]


def test_a_request_id_is_given_or_kept(narrow: ServedApi) -> None:
    assert narrow.get("/livez", headers={"X-Request-Id": "req-7"}).headers["x-request-id"] == "req-7"
    given = narrow.get("/livez", headers={"X-Request-Id": "a b"}).headers["x-request-id"]
    assert len(given) == 16


def test_a_page_of_a_configured_origin_may_ask(narrow: ServedApi) -> None:
    wanted = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    preflight = narrow.ask("OPTIONS", PAGE, headers={"Origin": ORIGIN} | wanted)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in preflight.headers
    answer = narrow.get(PAGE, narrow.token(), headers={"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "Link" in answer.headers["access-control-expose-headers"]
    refused = narrow.get(f"{PAGE}?x=1", narrow.token(), headers={"Origin": ORIGIN})
    assert refused.headers["access-control-allow-origin"] == ORIGIN


def test_a_page_of_another_origin_may_not(narrow: ServedApi, api: ServedApi) -> None:
    for served in (narrow, api):
        answer = served.get(PAGE, served.token(), headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in answer.headers


def test_a_request_that_is_no_http_ends(narrow: ServedApi) -> None:
    at = urlsplit(narrow.url)
    with socket.create_connection((str(at.hostname), int(at.port or 0)), 5) as raw:
        raw.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    assert narrow.get("/livez").status_code == 200


def test_clickhouse_away_is_503_and_tells_nothing(api: ServedApi, log: Log, catalog: Catalog) -> None:
    with serving("http://default:@127.0.0.1:1/none", catalog) as away:
        answers = [away.get(PAGE, api.token()), away.get(PAGE, away.viewer()), away.get("/readyz")]
    for answer in answers:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "127.0.0.1" not in answer.text


def test_headers_without_end_are_cut_off(narrow: ServedApi) -> None:
    at = urlsplit(narrow.url)
    for line in (b"x-%d: " + b"x" * 1_000 + b"\r\n", b"x" * 1_000):
        with socket.create_connection((str(at.hostname), int(at.port or 0)), 10) as raw:
            raw.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-long: ")
            sent = 0
            with suppress(ConnectionError):
                while sent < 50_000_000 and not select.select([raw], [], [], 0)[0]:
                    raw.sendall(line)
                    sent += len(line)
            assert sent < 5_000_000, "headers of any size are read"
    assert narrow.get("/livez").status_code == 200


def test_a_request_that_does_not_begin_is_not_waited_for(
    narrow: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(protocol.SECONDS_MAX, "head", 0.5)
    at = urlsplit(narrow.url)
    for beginning in (b"", b"GET /livez HTTP/1.1\r\nhost: x\r\n"):
        with socket.create_connection((str(at.hostname), int(at.port or 0)), 20) as raw:
            raw.sendall(beginning)
            assert raw.recv(100) == b""


def test_a_connection_is_kept_for_further_requests(narrow: ServedApi) -> None:
    at = urlsplit(narrow.url)
    with socket.create_connection((str(at.hostname), int(at.port or 0)), 20) as raw:
        for _ in range(50):
            raw.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-long: " + b"x" * 3_000 + b"\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok\n"):
                answer += raw.recv(10_000)

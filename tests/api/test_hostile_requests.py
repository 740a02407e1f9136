"""Bodies, tokens and addresses as only an attacker writes them: each has an answer that was thought of."""

from __future__ import annotations

import pytest

from kit.served_api import ServedApi

pytestmark = pytest.mark.integration

ACCOUNT = "/v1/accounts/acc_1"
LOG = "/accounts/acc_1/audit-logs"

BODIES = (
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"seconds":' + b"9" * 5_000 + b"}",
    b'{"seconds":1e999}',
    b'{"seconds":NaN}',
    b"\xff\xfe{",
    b'{"item":"\\ud800/\\udfff"}',
    b'{"scope":"read","name":"\\u0000"}',
    b'{"scope":"read","name":"\\ud800"}',
    b'{"scope":"read","expires_in_seconds":99999999999999}',
    b'{"q":"' + b"(" * 20_000 + b'"}',
    b"null",
    b"",
)


@pytest.mark.parametrize("path", ["tokens", "viewer-tokens", "exports"])
def test_a_body_that_means_nothing_is_refused(api: ServedApi, path: str) -> None:
    admin, headers = api.token("acc_1", "admin"), {"Content-Type": "application/json"}
    for body in BODIES:
        answer = api.ask("POST", f"{ACCOUNT}/{path}", admin, headers, content=body)
        assert answer.status_code == 400, body[:40]


@pytest.mark.parametrize("token", ["eyJ" + "A" * 4_000, "A" * 5_000, "a.b.c", "..", "alt_" + "A" * 36, "é"])
def test_a_token_that_is_none_is_refused_in_a_header_and_in_a_cookie(api: ServedApi, token: str) -> None:
    sent = token.encode("latin-1")
    by_header = api.client.get(f"{ACCOUNT}/events", headers={b"Authorization": b"Bearer " + sent})
    by_cookie = api.client.get(LOG, headers={b"Cookie": b"auditlog_session=" + sent})
    assert (by_header.status_code, by_cookie.status_code) == (401, 401)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("event=%00", 400),
        ("event=" + "1" * 7_000, 400),
        ("rows=" + "0" * 7_000, 400),
        ("rows=%F0%9F%98%80", 400),
        ("zone=" + "x" * 5_000, 200),
        ("cursor=%00", 404),
        ("cursor=" + "%FF" * 2_000, 404),
        ("from=9999-12-31T23:59&until=0001-01-01T00:00", 400),
        ("q=" + "(" * 2_000, 400),
    ],
)
def test_a_pages_state_is_checked_before_it_is_used(api: ServedApi, query: str, status: int) -> None:
    assert api.get(f"{LOG}?{query}", api.viewer()).status_code == status


@pytest.mark.parametrize(
    ("next", "status"),
    [
        *(
            (text, 400)
            for text in ("//host", "/\\host", "/\t/host", "https://host", "javascript:x", "/\r\nX: y")
        ),
        *((text, 303) for text in ("/%5chost", "/é", "/%0d%0aX:y", "/" + "a" * 7_000)),
    ],
)
def test_a_sign_in_leads_on_within_this_server_alone(api: ServedApi, next: str, status: int) -> None:
    answer = api.client.get("/sign-in", params={"token": api.viewer(), "next": next})
    assert answer.status_code == status
    if status == 303:
        assert answer.headers["location"].startswith("/")
        assert not {"x", "X"} & answer.headers.keys()
    api.client.cookies.clear()

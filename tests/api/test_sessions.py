"""Sessions of pages: a token in a cookie."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import pytest

from auditlog_api.access import SESSION_COOKIE
from auditlog_api.session import is_local_path
from auditlog_storage.filters import Item
from kit.served_api import ServedApi

pytestmark = pytest.mark.integration

PAGE = "/accounts/acc_1/audit-logs?q=a%20b"


def cookie_of(answer: object) -> str:
    return answer.headers["set-cookie"]  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("how", ["link", "form"])
def test_a_good_token_becomes_a_session_and_leads_on(api: ServedApi, how: str) -> None:
    token = api.token()
    fields = {"token": f" {token} ", "next": PAGE}
    given: tuple[str, Any] = ("GET", {"params": fields}) if how == "link" else ("POST", {"data": fields})
    answer = api.ask(given[0], "/sign-in", **given[1])
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    assert answer.headers["referrer-policy"] == "no-referrer"
    cookie = SimpleCookie(cookie_of(answer))[SESSION_COOKIE]
    assert cookie.value == token
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "lax", "/")
    assert not cookie["secure"]


def test_a_session_ends_with_its_token(api: ServedApi) -> None:
    answer = api.get("/sign-in", params={"token": api.viewer("acc_1", Item("license", "lic_1"), 60)})
    assert "expires=" in cookie_of(answer).lower()


def test_behind_https_the_cookie_is_secure(api: ServedApi) -> None:
    answer = api.get("/sign-in", params={"token": api.token()}, headers={"X-Forwarded-Proto": "https"})
    assert "secure" in cookie_of(answer).lower()


def test_a_session_reads_as_its_token_does(api: ServedApi) -> None:
    headers = {"Cookie": f"{SESSION_COOKIE}={api.token()}"}
    assert api.get("/v1/accounts/acc_1/events", headers=headers).status_code == 200
    assert api.get("/v1/accounts/acc_2/events", headers=headers).status_code == 404


def test_another_sites_page_changes_nothing_with_a_session(api: ServedApi) -> None:
    headers = {"Cookie": f"{SESSION_COOKIE}={api.token('acc_1', 'admin')}"}
    path, body = "/v1/accounts/acc_1/tokens", {"scope": "read"}
    for site in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        assert api.ask("POST", path, headers=headers | site, json=body).status_code == 401
    own = headers | {"Sec-Fetch-Site": "same-origin"}
    assert api.ask("POST", path, headers=own, json=body).status_code == 201


def test_a_bearer_token_goes_before_a_session(api: ServedApi) -> None:
    headers = {"Cookie": f"{SESSION_COOKIE}={api.token('acc_2')}"}
    assert api.get("/v1/accounts/acc_1/events", api.token("acc_1"), headers=headers).status_code == 200


@pytest.mark.parametrize(
    "next", ["https://evil.example", "//evil.example", "/\\evil.example", "x", "", "/\t/x"]
)
def test_signing_in_leads_nowhere_else(api: ServedApi, next: str) -> None:
    answer = api.get("/sign-in", params={"token": api.token(), "next": next})
    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers
    assert not is_local_path(next)


def test_a_token_that_is_not_good_makes_no_session(api: ServedApi) -> None:
    for answer in (
        api.get("/sign-in", params={"token": "nonsense"}),
        api.ask("POST", "/sign-in", data={"token": ""}),
        api.ask("POST", "/sign-in", content=b"\xff\xfe"),
    ):
        assert answer.status_code in (400, 401)
        assert "set-cookie" not in answer.headers


def test_signing_out_forgets_the_token(api: ServedApi) -> None:
    answer = api.ask("POST", "/sign-out")
    assert answer.status_code == 303
    assert SimpleCookie(cookie_of(answer))[SESSION_COOKIE].value == ""

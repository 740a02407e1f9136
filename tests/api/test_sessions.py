"""Sessions of pages: a token in a cookie."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import pytest

from auditlog_api.origin import SESSION_COOKIE
from auditlog_api.session import is_local_path
from auditlog_storage.filters import Item
from kit.served_api import ServedApi, serving

pytestmark = pytest.mark.integration

PAGE = "/accounts/acc_1/audit-logs?q=a%20b"
OWN = {"Sec-Fetch-Site": "same-origin"}
HTTPS = {"X-Forwarded-Proto": "https"}
OVER_HTTPS = f"__Host-{SESSION_COOKIE}"


def cookie_of(answer: object) -> str:
    return answer.headers["set-cookie"]  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("how", ["link", "form"])
def test_a_good_token_becomes_a_session_and_leads_on(api: ServedApi, how: str) -> None:
    token = api.token()
    fields = {"token": f" {token} ", "next": PAGE}
    given: tuple[str, Any] = ("GET", {"params": fields}) if how == "link" else ("POST", {"data": fields})
    answer = api.ask(given[0], "/sign-in", headers=OWN, **given[1])
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    assert answer.headers["referrer-policy"] == "no-referrer"
    cookie = SimpleCookie(cookie_of(answer))[SESSION_COOKIE]
    assert cookie.value == token
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "lax", "/")
    assert not cookie["secure"]


def test_a_session_ends_with_its_token(api: ServedApi) -> None:
    answer = api.get("/sign-in", params={"token": api.viewer("acc_1", Item("license", "lic_1"), 60)})
    assert "expires=" in cookie_of(answer).lower()


def test_over_https_the_cookie_is_of_this_host_alone(api: ServedApi) -> None:
    answer = api.get("/sign-in", params={"token": api.token()}, headers=HTTPS)
    cookie = SimpleCookie(cookie_of(answer))[OVER_HTTPS]
    # What RFC 6265bis asks of a name with this prefix; a browser drops the cookie otherwise.
    assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")


def test_over_https_the_plain_name_opens_nothing(api: ServedApi, database_url: str) -> None:
    # A neighbouring host, or somebody on the way of a plain request, can set that one.
    path, token = "/v1/accounts/acc_1/events", api.token()
    plain, own = (f"{name}={token}" for name in (SESSION_COOKIE, OVER_HTTPS))
    assert api.get(path, headers=HTTPS | {"Cookie": plain}).status_code == 401
    assert api.get(path, headers=HTTPS | {"Cookie": own}).status_code == 200
    mixed = f"{SESSION_COOKIE}={api.token('acc_2')}; {own}"
    assert api.get(path, headers=HTTPS | {"Cookie": mixed}).status_code == 200
    with serving(database_url, behind_https=True) as behind:
        assert behind.get(path, headers={"Cookie": plain}).status_code == 401
        assert behind.get(path, headers={"Cookie": own}).status_code == 200


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


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "OWN"},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "OWN.evil.example"},
        {"Origin": "OWN0"},
        {"Origin": "OWN/"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "", "Origin": "OWN"},
        {"Sec-Fetch-Site": "same-origin, cross-site", "Origin": "OWN"},
        {"Referer": "OWN/sign-in"},
        {"Origin": "OWN", "Host": "other.example"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
def test_another_sites_form_signs_nobody_in_or_out(
    api: ServedApi, path: str, headers: dict[str, str]
) -> None:
    given = {name: value.replace("OWN", api.url) for name, value in headers.items()}
    answer = api.ask("POST", path, headers=given, data={"token": api.token(), "next": PAGE})
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:auditlog:problem:forbidden")
    assert "set-cookie" not in answer.headers


def test_a_browser_without_fetch_metadata_sends_its_origin(api: ServedApi) -> None:
    token = api.token("acc_1", "admin")
    plain, secure = {"Origin": api.url}, {"Origin": api.url.replace("http:", "https:")} | HTTPS
    for headers, name in ((plain, SESSION_COOKIE), (secure, OVER_HTTPS)):
        answer = api.ask("POST", "/sign-in", headers=headers, data={"token": token})
        assert (answer.status_code, cookie_of(answer).partition("=")[0]) == (303, name)
        cookie = {"Cookie": f"{name}={token}"}
        path, body = "/v1/accounts/acc_1/tokens", {"scope": "read"}
        assert api.ask("POST", path, headers=headers | cookie, json=body).status_code == 201
        assert api.ask("POST", path, headers=cookie, json=body).status_code == 401
    # The page was loaded without encryption: anybody on the way may have written it.
    crossed = plain | HTTPS
    assert api.ask("POST", "/sign-in", headers=crossed, data={"token": token}).status_code == 403


@pytest.mark.parametrize("inside", ["image", "iframe", "script", "empty", "object"])
def test_a_link_signs_in_a_window_and_nothing_inside_of_a_page(api: ServedApi, inside: str) -> None:
    given: dict[str, Any] = {"params": {"token": api.token()}}
    site = {"Sec-Fetch-Site": "cross-site"}
    refused = api.get("/sign-in", headers=site | {"Sec-Fetch-Dest": inside}, **given)
    assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
    assert api.get("/sign-in", headers=site | {"Sec-Fetch-Dest": "document"}, **given).status_code == 303


def test_a_token_that_is_not_good_makes_no_session(api: ServedApi) -> None:
    for answer in (
        api.get("/sign-in", params={"token": "nonsense"}),
        api.ask("POST", "/sign-in", headers=OWN, data={"token": ""}),
        api.ask("POST", "/sign-in", headers=OWN, content=b"\xff\xfe"),
    ):
        assert answer.status_code in (400, 401)
        assert "set-cookie" not in answer.headers


def test_signing_out_forgets_the_token(api: ServedApi) -> None:
    for headers, name in ((OWN, SESSION_COOKIE), (OWN | HTTPS, OVER_HTTPS)):
        answer = api.ask("POST", "/sign-out", headers=headers)
        assert answer.status_code == 303
        cookie = SimpleCookie(cookie_of(answer))[name]
        assert (cookie.value, bool(cookie["secure"])) == ("", name == OVER_HTTPS)

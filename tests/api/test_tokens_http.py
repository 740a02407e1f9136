"""Tokens over HTTP: made, used, listed, revoked."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest

from auditlog_api.known_tokens import BAD_MAX
from auditlog_api.token_text import is_token, new_token, token_sha256
from auditlog_schemas.catalog import Catalog
from auditlog_storage.tokens import TokenTable
from kit.served_api import ServedApi, serving

pytestmark = pytest.mark.integration


def create(api: ServedApi, account: str, **wanted: Any) -> httpx.Response:
    body = {"scope": "read"} | wanted
    return api.ask("POST", f"/v1/accounts/{account}/tokens", api.token(account, "admin"), json=body)


def events(api: ServedApi, account: str, token: str) -> int:
    return api.get(f"/v1/accounts/{account}/events", token).status_code


def note_uses(api: ServedApi) -> None:
    asyncio.run_coroutine_threadsafe(api.backend.known_tokens.note_uses(), api.loop).result(10)


def test_a_token_is_shown_once_and_works_at_once(api: ServedApi) -> None:
    answer = create(api, "acc_a", name="CI", expires_in_seconds=3600)
    made = answer.json()
    assert answer.status_code == 201
    assert is_token(made["token"])
    assert (made["scope"], made["name"], made["account_id"]) == ("read", "CI", "acc_a")
    ends = datetime.fromisoformat(made["expires_at"])
    assert timedelta(seconds=3500) < ends - datetime.now(UTC) <= timedelta(hours=1)
    assert events(api, "acc_a", made["token"]) == 200
    listed = api.get("/v1/accounts/acc_a/tokens", api.token("acc_a", "admin"))
    assert made["token"] not in listed.text
    assert token_sha256(made["token"]) not in listed.text
    assert made["token_id"] in [token["token_id"] for token in listed.json()["tokens"]]


def test_a_token_that_was_asked_for_before_it_was_there_works_when_it_is(api: ServedApi) -> None:
    text = new_token()
    assert events(api, "acc_1", text) == 401
    assert api.backend.known_tokens._bad[token_sha256(text)][1] is None


def test_only_the_hash_is_at_rest(api: ServedApi) -> None:
    token = create(api, "acc_b").json()["token"]
    rows = api.connection.query_rows("SELECT * FROM audit_tokens WHERE account_id = 'acc_b'")
    assert token_sha256(token) in str(rows)
    assert token not in str(rows)


def test_a_revoked_token_is_refused_at_once_and_stays_in_the_list(api: ServedApi) -> None:
    made = create(api, "acc_c").json()
    admin = api.token("acc_c", "admin")
    assert events(api, "acc_c", made["token"]) == 200
    path = f"/v1/accounts/acc_c/tokens/{made['token_id']}"
    first, second = api.ask("DELETE", path, admin), api.ask("DELETE", path, admin)
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert first.json()["revoked_at"] is not None
    answer = api.get("/v1/accounts/acc_c/events", made["token"])
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:auditlog:problem:token-revoked")
    listed = api.get("/v1/accounts/acc_c/tokens", admin).json()["tokens"]
    assert [token["revoked_at"] for token in listed if token["token_id"] == made["token_id"]] != [None]


def test_when_a_token_was_last_used_is_stored_in_the_background(api: ServedApi) -> None:
    made = create(api, "acc_d").json()
    admin = api.token("acc_d", "admin")
    events(api, "acc_d", made["token"])

    def last_used() -> Any:
        listed = api.get("/v1/accounts/acc_d/tokens", admin).json()["tokens"]
        return {token["token_id"]: token["last_used_at"] for token in listed}[made["token_id"]]

    assert last_used() is None
    note_uses(api)
    used = datetime.fromisoformat(last_used())
    assert timedelta() <= datetime.now(UTC) - used < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"scope": "operator"}, "scope"),
        ({"scope": "everything"}, "scope"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"expires_in_seconds": 10**12}, "expires_in_seconds"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_token_that_cannot_be_is_refused_with_what_is_wrong(
    api: ServedApi, wanted: dict[str, Any], named: str
) -> None:
    answer = create(api, "acc_1", **wanted)
    assert (answer.status_code, answer.json()["errors"][0]["name"]) == (400, named)


def test_a_body_that_is_no_json_is_refused(api: ServedApi) -> None:
    admin = api.token("acc_1", "admin")
    for content, media_type in (
        (b"{", "application/json"),
        (b"scope=read", "text/plain"),
        (b"", "text/plain"),
    ):
        answer = api.ask(
            "POST", "/v1/accounts/acc_1/tokens", admin, {"Content-Type": media_type}, content=content
        )
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_an_export_token_reads_and_makes_no_tokens(api: ServedApi) -> None:
    token = api.token("acc_1", "export")
    assert events(api, "acc_1", token) == 200
    assert api.ask("POST", "/v1/accounts/acc_1/tokens", token, json={"scope": "read"}).status_code == 403


def test_an_operator_reads_every_account_and_makes_tokens_of_it(api: ServedApi) -> None:
    token = api.token(scope="operator")
    for account in ("acc_1", "acc_2"):
        assert events(api, account, token) == 200
    made = api.ask("POST", "/v1/accounts/acc_2/tokens", token, json={"scope": "read"}).json()
    assert events(api, "acc_2", made["token"]) == 200
    assert events(api, "acc_1", made["token"]) == 404
    assert events(api, "acc%01", token) == 404


@pytest.mark.parametrize("scope", ["read", "admin"])
def test_a_viewer_token_is_made_with_an_api_token(api: ServedApi, scope: Any) -> None:
    path = "/v1/accounts/acc_1/viewer-tokens"
    answer = api.ask("POST", path, api.token("acc_1", scope), json={"item": "license/lic_1", "seconds": 60})
    made = answer.json()
    assert answer.status_code == 201
    assert made["item"] == "license/lic_1"
    assert api.get("/v1/accounts/acc_1/items/license/lic_1/events", made["token"]).status_code == 200
    assert events(api, "acc_1", made["token"]) == 404
    for body, named in (({"seconds": 601}, "seconds"), ({"item": "license"}, "item"), ({"x": 1}, "x")):
        refused = api.ask("POST", path, api.token(), json=body)
        assert (refused.status_code, refused.json()["errors"][0]["name"]) == (400, named)


def test_a_key_limited_to_accounts_opens_them_alone(database_url: str, catalog: Catalog) -> None:
    main, partner = "m" * 40, "p" * 40
    keys = {"partner": {"secret": partner, "accounts": ["acc_1"]}}

    def signed(account: str, secret: str = partner, key_id: str = "partner") -> str:
        now = int(time.time())
        claims = {"aud": "auditlog", "account": account, "iat": now, "exp": now + 60}
        return jwt.encode(claims, secret, algorithm="HS256", headers={"kid": key_id})

    with serving(database_url, catalog, viewer_keys=keys) as api:
        assert events(api, "acc_1", signed("acc_1")) == 200
        theirs = api.get("/v1/accounts/acc_2/events", signed("acc_2"))
        unknown = api.get("/v1/accounts/acc_2/events", signed("acc_2", main, "main"))
        assert (theirs.status_code, theirs.content) == (401, unknown.content)
        assert events(api, "acc_2", signed("acc_1")) == 404
        for account, status in (("acc_1", 201), ("acc_2", 501)):
            path = f"/v1/accounts/{account}/viewer-tokens"
            assert api.ask("POST", path, api.token(account), json={}).status_code == status


def test_what_is_remembered_of_guesses_is_bounded(api: ServedApi) -> None:
    known = api.backend.known_tokens
    assert BAD_MAX == 20_000
    for _ in range(30):
        events(api, "acc_1", new_token())
    assert 30 <= len(known._bad) <= BAD_MAX
    assert not known._lookups


def test_the_table_is_the_same_from_everywhere(api: ServedApi) -> None:
    made = create(api, "acc_e").json()
    table = TokenTable(api.connection)
    found = table.find(token_sha256(made["token"]))
    assert found is not None
    table.revoke(found.token_id, None, "somebody else's process")
    deadline = time.monotonic() + api.backend.settings.token_kept_seconds + 2
    while events(api, "acc_e", made["token"]) == 200:
        assert time.monotonic() < deadline, "a token that another process revoked still works"
        time.sleep(0.1)

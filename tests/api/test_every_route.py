"""Every route, with every kind of wrong token: nobody gets a byte of what is not theirs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest

from api.api_routes import Address, addresses
from auditlog_api.app import create_app
from auditlog_api.settings import ApiSettings
from auditlog_api.token_text import new_token
from auditlog_schemas.catalog_file import load_catalog
from auditlog_storage.connection import Connection
from auditlog_storage.filters import Item
from auditlog_storage.settings import StorageSettings
from auditlog_storage.tokens import TokenTable
from kit.served_api import ServedApi
from storage.event_log import Log

pytestmark = pytest.mark.integration

SECRET = "Zanzibar"  # in every event of the account that nobody here may read
OPEN = {
    *("/livez", "/readyz", "/metrics", "/openapi.json", "/sign-in", "/sign-out"),
    *("/assets/{digest}/{name}", "/embed/audit-log.js"),
}
"""Routes that need no token, or that are where one is handed in."""

APP = create_app(
    ApiSettings.load(), Connection(StorageSettings.load(url="http://127.0.0.1:1/none")), load_catalog()
)
ALL = addresses(APP)
CLOSED = [address for address in ALL if address.template not in OPEN]
OF_ACCOUNT = [address for address in CLOSED if "{account}" in address.template]
NOT_FOUND = b"there is nothing at this address that this token may read"


@dataclass(frozen=True)
class World:
    """Two accounts with events, and tokens of every kind."""

    api: ServedApi
    good: str
    admin: str
    foreign: str
    foreign_admin: str
    expired: str
    revoked: str
    expired_viewer: str
    viewer: str
    item_viewer: str
    foreign_event: str


@pytest.fixture(scope="module")
def world(api: ServedApi, log: Log) -> World:
    item = {"type": "license", "id": "lic_1", "name": None}
    mine = [log.event(account_id="acc_1", entity=item) for _ in range(3)]
    theirs = [
        log.event(
            account_id="acc_theirs",
            entity={"type": "license", "id": "lic_theirs", "name": SECRET},
            metadata={"note": SECRET},
        )
        for _ in range(3)
    ]
    log.store(*mine, *theirs)
    revoked = api.token("acc_1", "admin")
    table = TokenTable(log.connection)
    table.revoke(next(t.token_id for t in table.tokens("acc_1")), "acc_1", "tests")
    return World(
        api=api,
        good=api.token("acc_1"),
        admin=api.token("acc_1", "admin"),
        foreign=api.token("acc_theirs"),
        foreign_admin=api.token("acc_theirs", "admin"),
        expired=api.token("acc_1", "admin", expires_in_seconds=-1),
        revoked=revoked,
        expired_viewer=api.viewer("acc_1", None, 1),
        viewer=api.viewer("acc_1"),
        item_viewer=api.viewer("acc_1", Item("license", "lic_of_somebody_else")),
        foreign_event=str(theirs[0].event_id),
    )


def ask(world: World, address: Address, token: str | None, **changed: str) -> httpx.Response:
    return world.api.ask(address.method, address.path(**changed), token, json=address.body)


def assert_nothing_leaks(answer: httpx.Response) -> None:
    assert SECRET not in answer.text
    assert "lic_theirs" not in answer.text


def test_the_routes_are_found() -> None:
    found = {str(address) for address in ALL}
    assert len(found) >= 12
    assert {
        "GET /v1/accounts/{account}/events",
        "GET /v1/accounts/{account}/events/{event_id}",
        "GET /v1/accounts/{account}/events/tail",
        "GET /v1/accounts/{account}/items/{entity_type}/{entity_id}/events",
        "GET /v1/accounts/{account}/histogram",
        "GET /v1/accounts/{account}/facets/{field}",
        "POST /v1/accounts/{account}/tokens",
        "POST /v1/accounts/{account}/viewer-tokens",
        "DELETE /v1/accounts/{account}/tokens/{token_id}",
        "GET /v1/actions",
        "GET /livez",
        "GET /readyz",
        "GET /metrics",
        "GET /accounts/{account}/audit-logs",
        "GET /accounts/{account}/audit-logs/{event_id}",
        "GET /accounts/{account}/items/{entity_type}/{entity_id}",
    } <= found


@pytest.mark.parametrize("address", CLOSED, ids=str)
def test_without_a_token(world: World, address: Address) -> None:
    answer = ask(world, address, None)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["type"] == "urn:auditlog:problem:token-missing"


@pytest.mark.parametrize("address", CLOSED, ids=str)
@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("expired", "token-expired"),
        ("revoked", "token-revoked"),
        ("expired_viewer", "token-expired"),
        ("mistyped", "token-malformed"),
        ("unknown", "token-unknown"),
        ("cut", "token-malformed"),
    ],
)
def test_with_a_token_that_is_not_good(world: World, address: Address, kind: str, problem: str) -> None:
    if kind == "expired_viewer":
        _wait_for_the_end(world)
    made = {
        "mistyped": world.good[:-1] + ("0" if world.good[-1] != "0" else "1"),
        "unknown": new_token(),
        "cut": world.good[:20],
    }
    answer = ask(world, address, made.get(kind) or getattr(world, kind))
    assert (answer.status_code, answer.json()["type"]) == (401, f"urn:auditlog:problem:{problem}")
    assert_nothing_leaks(answer)


@pytest.mark.parametrize("address", OF_ACCOUNT, ids=str)
@pytest.mark.parametrize("kind", ["foreign", "foreign_admin", "good", "admin", "viewer"])
def test_with_a_token_of_another_account(world: World, address: Address, kind: str) -> None:
    account = "acc_1" if kind.startswith("foreign") else "acc_theirs"
    token = getattr(world, kind)
    theirs = ask(world, address, token, account=account, entity_id="lic_theirs")
    nobodys = ask(world, address, token, account="acc_that_nobody_has", entity_id="lic_theirs")
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content == nobodys.content
    assert NOT_FOUND in theirs.content
    assert_nothing_leaks(theirs)


@pytest.mark.parametrize("address", OF_ACCOUNT, ids=str)
def test_with_a_viewer_token_outside_its_item(world: World, address: Address) -> None:
    answer = ask(world, address, world.item_viewer)
    # It reads nothing of the account, and what needs another scope tells nothing either.
    needs_more = "tokens" in address.template or "exports" in address.template
    assert answer.status_code == (403 if needs_more else 404)
    assert "lic_1" not in answer.text


@pytest.mark.parametrize("address", [a for a in OF_ACCOUNT if "tokens" in a.template], ids=str)
@pytest.mark.parametrize("kind", ["good", "viewer"])
def test_tokens_need_the_scope_for_it(world: World, address: Address, kind: str) -> None:
    answer = ask(world, address, getattr(world, kind))
    if kind == "good" and address.template.endswith("viewer-tokens"):
        assert answer.status_code == 201
    else:
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:auditlog:problem:scope-missing")


def test_another_accounts_event_is_like_one_that_nobody_has(world: World) -> None:
    theirs = world.api.get(f"/v1/accounts/acc_1/events/{world.foreign_event}", world.good)
    nobodys = world.api.get(f"/v1/accounts/acc_1/events/{uuid4()}", world.good)
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content == nobodys.content
    assert world.api.get(f"/v1/accounts/acc_theirs/events/{world.foreign_event}", world.foreign).is_success


def test_another_accounts_item_is_like_one_that_nobody_has(world: World) -> None:
    theirs = world.api.get("/v1/accounts/acc_1/items/license/lic_theirs/events", world.good)
    nobodys = world.api.get("/v1/accounts/acc_1/items/license/lic_nobodys/events", world.good)
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content == nobodys.content


def test_another_accounts_cursor_is_like_one_that_nobody_has(world: World) -> None:
    page = world.api.get("/v1/accounts/acc_theirs/events?limit=1", world.foreign).json()
    theirs = world.api.get(f"/v1/accounts/acc_1/events?limit=1&cursor={page['next_cursor']}", world.good)
    nobodys = world.api.get("/v1/accounts/acc_1/events?limit=1&cursor=nonsense", world.good)
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content == nobodys.content
    assert_nothing_leaks(theirs)


def test_another_accounts_token_cannot_be_revoked(world: World) -> None:
    [theirs, *_] = TokenTable(world.api.connection).tokens("acc_theirs")
    foreign = world.api.ask("DELETE", f"/v1/accounts/acc_1/tokens/{theirs.token_id}", world.admin)
    nobodys = world.api.ask("DELETE", "/v1/accounts/acc_1/tokens/tok_none", world.admin)
    assert foreign.status_code == nobodys.status_code == 404
    assert foreign.content == nobodys.content
    assert world.api.get("/v1/accounts/acc_theirs/events", world.foreign).is_success


def test_a_viewer_token_reads_its_item_and_events_of_it(world: World) -> None:
    token = world.api.viewer("acc_1", Item("license", "lic_1"))
    page = world.api.get("/v1/accounts/acc_1/items/license/lic_1/events", token)
    assert len(page.json()["events"]) == 3
    event_id = page.json()["events"][0]["event_id"]
    assert world.api.get(f"/v1/accounts/acc_1/events/{event_id}", token).is_success
    for path in ("events", "histogram", "facets/action"):
        assert world.api.get(f"/v1/accounts/acc_1/{path}?item=license/lic_1", token).is_success
        assert world.api.get(f"/v1/accounts/acc_1/{path}?item=license/lic_2", token).status_code == 404
    other = world.api.viewer("acc_1", Item("license", "lic_2"))
    assert world.api.get(f"/v1/accounts/acc_1/events/{event_id}", other).status_code == 404
    fresh = world.api.get("/v1/accounts/acc_1/items/license/lic_2/events", other)
    assert (fresh.status_code, fresh.json()["events"]) == (200, [])


def _wait_for_the_end(world: World) -> None:
    while world.api.get("/v1/actions", world.expired_viewer).status_code == 200:
        time.sleep(0.1)

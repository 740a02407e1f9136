"""What the API does with tokens, and what operators read, is in the audit log: through Kafka and back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from api.api_routes import addresses
from auditlog_api import metrics
from auditlog_api.own_events import OPERATORS_ACCOUNT, OwnEvents
from auditlog_producers import Actor, Context
from auditlog_schemas.catalog import Catalog
from auditlog_storage.tokens import TokenTable
from kit.pipeline import Pipeline
from kit.served_api import ServedApi, serving
from kit.stopwatch import Stopwatch

pytestmark = pytest.mark.integration

OF_NO_ACCOUNT = {
    *("/", "/sign-in", "/sign-out", "/assets/{digest}/{name}", "/embed/audit-log.js"),
    *("/livez", "/readyz", "/metrics", "/openapi.json", "/v1/actions"),
}
"""Routes that show nothing of any account; all others record what an operator asks for."""


@pytest.fixture
def pipeline(kafka_bootstrap: str, fresh_database: str) -> Iterator[Pipeline]:
    pipeline = Pipeline(kafka_bootstrap, fresh_database)
    yield pipeline
    pipeline.close()


def wait_for(api: ServedApi, account: str, token: str, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 60
    while True:
        answer = api.get(f"/v1/accounts/{account}/events?group=Audit%20Log&sentences=true", token)
        events: list[dict[str, Any]] = answer.json()["events"]
        if len(events) >= count:
            return events
        assert time.monotonic() < deadline, events
        time.sleep(0.2)


def test_token_changes_and_operators_reads_are_events_of_the_account(
    pipeline: Pipeline, kafka_bootstrap: str, fresh_database: str, catalog: Catalog
) -> None:
    own = OwnEvents(kafka_bootstrap, catalog, topic=pipeline.topic, key=pipeline.own_key)
    with serving(fresh_database, catalog, own) as api, pipeline.running():
        admin = api.token("acc_1", "admin", name="Console")
        operator = api.token(scope="operator", name="Support")
        headers = {"User-Agent": "tests/1" + "x" * 2_000, "X-Request-Id": "req-7"}
        headers["X-Forwarded-For"] = "no address" + "x" * 2_000
        wanted = {"scope": "read", "name": "CI"}
        made = api.ask("POST", "/v1/accounts/acc_1/tokens", admin, headers, json=wanted)
        path = f"/v1/accounts/acc_1/tokens/{made.json()['token_id']}"
        for _ in range(2):
            assert api.ask("DELETE", path, admin).status_code == 200
        for _ in range(3):
            assert api.get("/v1/accounts/acc_1/histogram", operator).status_code == 200
        found = wait_for(api, "acc_1", admin, 3)
        own.close()
    actions = ["audit_log_read", "audit_token_revoked", "audit_token_created"]
    assert [event["action"] for event in found] == actions
    read, revoked, created = found
    assert created["sentence"] == "Console created audit log token CI with scope read"
    assert revoked["sentence"] == "Console revoked audit log token CI"
    assert read["sentence"] == "Support read events of audit log acc_1 as an operator"
    assert created["entity"]["id"] == made.json()["token_id"]
    assert created["actor"]["type"] == "api_key"
    assert created["context"]["request_id"] == "req-7"
    assert (read["context"]["ip"], read["context"]["user_agent"][:6]) == ("127.0.0.1", "python")
    assert created["context"]["ip"].startswith("no address")
    assert created["context"]["ip"].endswith("…")
    assert created["context"]["user_agent"] == "tests/1" + "x" * 1_014 + "…"
    assert made.json()["token"] not in str(found)
    assert created["source"]["service"] == "auditlog-api"


def test_whatever_an_operator_asks_for_is_recorded_once_in_the_log_of_its_account(
    pipeline: Pipeline, kafka_bootstrap: str, fresh_database: str, catalog: Catalog
) -> None:
    own = OwnEvents(kafka_bootstrap, catalog, topic=pipeline.topic, key=pipeline.own_key)
    asked: dict[str, str] = {}
    with serving(fresh_database, catalog, own) as api, pipeline.running():
        operator = {"Authorization": f"Bearer {api.token(scope='operator', name='Support')}"}
        owner = {"Authorization": f"Bearer {api.token('acc_owned', 'admin')}"}
        every = addresses(api.app)
        found = [each for each in every if "{account}" in each.template]
        assert {each.template for each in every if each not in found} == OF_NO_ACCOUNT
        for number, address in enumerate(found):
            asked[f"acc_{number}"] = str(address)
            for account, headers in ((f"acc_{number}", operator),) * 2 + (("acc_owned", owner),):
                # Only the beginning of an answer: a followed log has no end.
                path = address.path(account=account)
                with api.client.stream(address.method, path, headers=headers, json=address.body) as answer:
                    assert answer.status_code != 401
        own.close()
        deadline = time.monotonic() + 60
        query = "SELECT account_id, metadata['what'] FROM audit_log_v1 WHERE action = 'audit_log_read'"
        while len(rows := api.connection.query_rows(query)) < len(asked) and time.monotonic() < deadline:
            time.sleep(0.2)
    recorded = Counter(account for account, _ in rows)
    assert recorded == Counter(asked.keys()), [asked[each] for each in asked if each not in recorded]
    for account, what in rows:
        named = [word for word in ("exports", "tokens") if word in asked[account]]
        assert [what] == (named or ["events"])
    assert {what for _, what in rows} == {"events", "exports", "tokens"}


def test_operators_tokens_are_recorded_in_a_log_of_their_own(
    pipeline: Pipeline, kafka_bootstrap: str, fresh_database: str, catalog: Catalog
) -> None:
    own = OwnEvents(kafka_bootstrap, catalog, topic=pipeline.topic, key=pipeline.own_key)
    with serving(fresh_database, catalog) as api, pipeline.running():
        api.token(scope="operator", name="Support")
        [token] = TokenTable(api.connection).tokens("")
        own.token_created(token, Actor(type="system", id="ada@host"), Context())
        own.close()
        [event] = wait_for(api, OPERATORS_ACCOUNT, api.token(OPERATORS_ACCOUNT), 1)
    assert event["metadata"]["scope"] == "operator"


def test_without_kafka_nothing_is_published_and_nothing_fails(database_url: str, catalog: Catalog) -> None:
    with serving(database_url, catalog, OwnEvents(None, catalog)) as api:
        admin = api.token("acc_1", "admin")
        assert api.ask("POST", "/v1/accounts/acc_1/tokens", admin, json={"scope": "read"}).status_code == 201


def test_an_event_that_kafka_does_not_take_is_counted_and_delays_nobody(
    database_url: str, catalog: Catalog
) -> None:
    before = metrics.OWN_EVENTS.labels("failed")._value.get()
    own = OwnEvents("127.0.0.1:1", catalog, key=lambda: b"k" * 32)
    with serving(database_url, catalog, own) as api:
        admin = api.token("acc_1", "admin")
        watch = Stopwatch()
        made = api.ask("POST", "/v1/accounts/acc_1/tokens", admin, json={"scope": "read"})
        assert watch.seconds < 5
        assert made.status_code == 201
        own.close(0.1)
    assert metrics.OWN_EVENTS.labels("failed")._value.get() == before + 1


def test_what_an_operator_asks_for_next_is_recorded_too(
    pipeline: Pipeline, kafka_bootstrap: str, fresh_database: str, catalog: Catalog
) -> None:
    own = OwnEvents(kafka_bootstrap, catalog, topic=pipeline.topic, key=pipeline.own_key)
    with serving(fresh_database, catalog, own) as api, pipeline.running():
        operator = api.token(scope="operator", name="Support")
        for path in ("events", "exports", "tokens", "events", "exports/exp_none/parts", "histogram"):
            api.get(f"/v1/accounts/acc_1/{path}", operator)
        found = wait_for(api, "acc_1", api.token("acc_1"), 3)
        own.close()
    assert [event["metadata"] for event in found] == [
        {"what": "tokens"},
        {"what": "exports"},
        {"what": "events"},
    ]

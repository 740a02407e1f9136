"""Events over HTTP: filters, pages, forms, and hostile data in all of them."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from urllib.parse import quote

import pytest

from auditlog_schemas.event import AuditEvent
from auditlog_schemas.record import micros_of
from auditlog_storage.event_json import event_json
from auditlog_storage.formula import FORMULA
from auditlog_storage.reader import LogReader
from kit.served_api import ServedApi
from storage.event_log import Log

pytestmark = pytest.mark.integration

START = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
HOSTILE = '=HYPERLINK("http://evil.example")<script>alert(1)</script>\r\n\u202egnp.\u200b\x7f\'";--'
KINDS = ("license_updated", "license_reset", "customer_updated", "order_updated")


@pytest.fixture(scope="module")
def events(log: Log) -> list[AuditEvent]:
    """40 events of acc_pages, newest first, a minute apart but for some at the same time."""
    made = [
        log.event(
            account_id="acc_pages",
            action=KINDS[number % 4],
            occurred_at=micros_of(START + timedelta(minutes=number - number % 3)),
            entity={"type": KINDS[number % 4].split("_")[0], "id": f"it_{number % 7}", "name": None},
            related=[{"type": "customer", "id": "cus_9", "name": None}] if number % 5 == 0 else [],
            actor={
                "type": "platform_user",
                "id": f"usr_{number % 3}",
                "name": "Ada",
                "email": None,
                "impersonator_id": None,
            },
            context={"ip": f"10.0.0.{number}", "user_agent": None, "request_id": f"req_{number // 2}"},
        )
        for number in range(40)
    ]
    log.store(*made)
    page = LogReader(log.connection).timeline("acc_pages", limit=100)
    return [stored.event for stored in page.events]


@pytest.fixture(scope="module")
def token(api: ServedApi) -> str:
    return api.token("acc_pages")


def ids(found: Any) -> list[str]:
    return [event["event_id"] for event in found["events"]]


def ask(api: ServedApi, token: str, query: str = "", path: str = "events", **more: Any) -> Any:
    answer = api.get(f"/v1/accounts/acc_pages/{path}{query}", token, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_first_page_is_the_newest_events_in_the_shape_of_everywhere(
    api: ServedApi, token: str, events: list[AuditEvent]
) -> None:
    found = ask(api, token, "?limit=5")
    assert ids(found) == [str(event.event_id) for event in events[:5]]
    stored = LogReader(api.connection).event("acc_pages", events[0].event_id)
    assert found["events"][0] == event_json(stored)
    assert found["events"][0]["occurred_at"].endswith("Z")


FILTERS: dict[str, tuple[str, Any]] = {
    "action": ("?action=license_reset", lambda e: e.action == "license_reset"),
    "actions": (
        "?action=license_reset&action=order_updated",
        lambda e: e.action in ("license_reset", "order_updated"),
    ),
    "group": ("?group=Customers", lambda e: e.action == "customer_updated"),
    "entity type": ("?entity=order", lambda e: e.entity.type == "order"),
    "entity": ("?entity=license/it_4", lambda e: (e.entity.type, e.entity.id) == ("license", "it_4")),
    "item": ("?item=customer/cus_9", lambda e: bool(e.related)),
    "actor": ("?actor=usr_2", lambda e: e.actor.id == "usr_2"),
    "ip": ("?ip=10.0.0.7", lambda e: e.context.ip == "10.0.0.7"),
    "network": (
        "?ip=10.0.0.0/29",
        lambda e: int(str(e.context.ip).rpartition(".")[2]) < 8,
    ),
    "request": ("?request_id=req_3", lambda e: e.context.request_id == "req_3"),
    "since": (
        "?since=2026-11-01T09:30:00Z",
        lambda e: e.occurred_at >= START + timedelta(minutes=30),
    ),
    "until": ("?until=2026-11-01T09:30:00Z", lambda e: e.occurred_at < START + timedelta(minutes=30)),
    "search": ("?q=action:license_reset", lambda e: e.action == "license_reset"),
    "search and filter": (
        "?q=-actor:usr_1&action=license_updated",
        lambda e: e.action == "license_updated" and e.actor.id != "usr_1",
    ),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filters(api: ServedApi, token: str, events: list[AuditEvent], name: str) -> None:
    query, matches = FILTERS[name]
    wanted = [str(event.event_id) for event in events if matches(event)]
    assert wanted, "the filter is tried on nothing"
    assert ids(ask(api, token, query)) == wanted


def test_links_lead_through_all_pages_and_back(api: ServedApi, token: str, events: list[AuditEvent]) -> None:
    wanted = [str(event.event_id) for event in events if event.action != "order_updated"]
    query = "?limit=7&since=3650d&action=license_updated&action=license_reset&action=customer_updated"
    answer = api.get(f"/v1/accounts/acc_pages/events{query}", token)
    there = [answer]
    while "next" in answer.links:
        answer = api.get(answer.links["next"]["url"], token)
        assert answer.status_code == 200, answer.text
        there.append(answer)
    assert [one for page in there for one in ids(page.json())] == wanted
    assert "prev" not in there[0].links
    back = []
    while "prev" in answer.links:
        answer = api.get(answer.links["prev"]["url"], token)
        back.append(ids(answer.json()))
    assert back[::-1] == [ids(page.json()) for page in there[:-1]]


def test_a_link_has_no_account_but_the_paths_and_no_token(api: ServedApi, token: str) -> None:
    answer = api.get("/v1/accounts/acc_pages/events?limit=1&q=action:license_*", token)
    url = answer.links["next"]["url"]
    assert url.startswith("/v1/accounts/acc_pages/events?")
    assert token not in url


def test_a_cursor_of_another_question_is_refused(api: ServedApi, token: str) -> None:
    cursor = ask(api, token, "?limit=2")["next_cursor"]
    answer = api.get(f"/v1/accounts/acc_pages/events?limit=2&actor=usr_1&cursor={cursor}", token)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:auditlog:problem:no-such-page")


def test_an_item_has_its_own_events_and_the_related_ones(
    api: ServedApi, token: str, events: list[AuditEvent]
) -> None:
    found = ask(api, token, path="items/customer/cus_9/events", query="?limit=3")
    wanted = [str(event.event_id) for event in events if event.related]
    assert ids(found) == wanted[:3]
    answer = api.get("/v1/accounts/acc_pages/items/customer/cus_9/events?limit=3", token)
    assert ids(api.get(answer.links["next"]["url"], token).json()) == wanted[3:6]


def test_ids_may_hold_a_slash_and_anything_else_but_control_characters(api: ServedApi, log: Log) -> None:
    account, item = "acc/ö %2F?#", "a/b%2F.. ?#&=+"
    event = log.event(account_id=account, entity={"type": "license", "id": item, "name": None})
    log.store(event)
    token = api.token(account)
    base = f"/v1/accounts/{quote(account, safe='')}"
    page = api.get(f"{base}/items/license/{quote(item, safe='')}/events", token)
    assert ids(page.json()) == [str(event.event_id)]
    assert api.get(f"{base}/events/{event.event_id}", token).json()["account_id"] == account
    assert api.get(f"{base}/items/license/a%00b/events", token).status_code == 404
    first = api.get(f"{base}/events?limit=1&action=license_updated", token)
    log.store(log.event(account_id=account, occurred_at=1))
    first = api.get(f"{base}/events?limit=1&action=license_updated", token)
    assert api.get(first.links["next"]["url"], token).status_code == 200


def test_an_event_with_its_sentence(api: ServedApi, token: str, events: list[AuditEvent]) -> None:
    path = f"events/{events[0].event_id}"
    assert "sentence" not in ask(api, token, path=path)
    sentence = api.backend.catalog.sentence(events[0])
    assert ask(api, token, path=path, query="?sentences=true")["sentence"] == sentence
    assert ask(api, token, "?limit=1&sentences=true")["events"][0]["sentence"] == sentence


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("?colour=red", "colour"),
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=ten", "limit"),
        ("?limit=1&limit=2", "limit"),
        ("?since=soon", "since"),
        ("?since=2026-11-02&until=2026-11-01", "until"),
        ("?actor=", "actor"),
        ("?entity=", "entity"),
        ("?entity=license/", "entity"),
        ("?item=license", "item"),
        ("?ip=10.0.0.0/99", "ip"),
        ("?q=created:", "q"),
        ("?sentences=perhaps", "sentences"),
        (f"?actor={'x' * 300}", "actor"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(api: ServedApi, token: str, query: str, named: str) -> None:
    answer = api.get(f"/v1/accounts/acc_pages/events{query}", token)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert [error["name"] for error in problem["errors"]] == [named]
    assert named in problem["detail"]


def test_a_mistake_in_a_search_has_a_position_and_what_was_expected(api: ServedApi, token: str) -> None:
    problem = api.get("/v1/accounts/acc_pages/events?q=action:", token).json()
    assert problem["position"] == 7
    assert "a value" in problem["expected"]


@pytest.fixture(scope="module")
def hostile(log: Log) -> AuditEvent:
    event = log.event(
        account_id="acc_hostile",
        entity={"type": "license", "id": "lic_1", "name": HOSTILE},
        actor={
            "type": "customer",
            "id": HOSTILE.strip()[:50],
            "name": HOSTILE,
            "email": "@x",
            "impersonator_id": None,
        },
        context={"ip": "-1+1", "user_agent": "+cmd|'/c calc'!A0", "request_id": "\t=1"},
        changes=[{"field": HOSTILE, "before": json.dumps(HOSTILE), "after": json.dumps("x" * 32_000)}],
        metadata={HOSTILE: HOSTILE},
    )
    log.store(event)
    return event


def test_json_lines_are_lines_of_the_same_json(api: ServedApi, token: str, hostile: AuditEvent) -> None:
    del hostile
    for media_type in ("application/jsonl", "application/x-ndjson"):
        for account, asked in (("acc_hostile", api.token("acc_hostile")), ("acc_pages", token)):
            path = f"/v1/accounts/{account}/events?limit=7"
            lines = api.get(path, asked, headers={"Accept": media_type})
            assert lines.headers["content-type"] == media_type
            assert lines.headers["vary"] == "Accept"
            assert lines.text.endswith("\n")
            whole = api.get(path, asked)
            assert [json.loads(line) for line in lines.text[:-1].split("\n")] == whole.json()["events"]
            # Two cursors of one place are never the same.
            links = [re.sub("cursor=[^&>]+", "", answer.headers.get("link", "")) for answer in (lines, whole)]
            assert links[0] == links[1]


def test_csv_is_inert(api: ServedApi, hostile: AuditEvent) -> None:
    answer = api.get(
        "/v1/accounts/acc_hostile/events", api.token("acc_hostile"), headers={"Accept": "text/csv"}
    )
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    [row] = csv.DictReader(StringIO(answer.text, newline=""), strict=True)
    assert row["entity_name"] == "'" + HOSTILE
    assert row["ip"] == "'-1+1"
    assert row["request_id"] == "'\t=1"
    assert not [cell for cell in row.values() if FORMULA.match(cell) and not cell.startswith("'")]
    assert json.loads(row["changes"])[0]["field"] == hostile.changes[0].field
    assert json.loads(row["metadata"]) == hostile.metadata


def test_a_page_of_nothing_is_still_whole(api: ServedApi) -> None:
    token = api.token("acc_empty")
    path = "/v1/accounts/acc_empty/events"
    assert api.get(path, token).json() == {"events": [], "next_cursor": None, "previous_cursor": None}
    assert api.get(path, token, headers={"Accept": "text/csv"}).text.count("\r\n") == 1
    assert api.get(path, token, headers={"Accept": "application/jsonl"}).text == ""


def test_a_form_that_there_is_not_is_refused(api: ServedApi, token: str) -> None:
    answer = api.get("/v1/accounts/acc_pages/events", token, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.json()["type"]) == (406, "urn:auditlog:problem:not-acceptable")


def test_a_histogram_counts_what_the_filter_lets_through(
    api: ServedApi, token: str, events: list[AuditEvent]
) -> None:
    found = ask(api, token, path="histogram", query="?action=license_reset&bars=10")
    assert found["total"] == sum(event.action == "license_reset" for event in events)
    assert found["total"] == sum(bar["events"] for bar in found["bars"])
    assert len(found["bars"]) <= 10
    assert found["since"] == events[-1].occurred_at.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("bars", [1, 2, 60, 1_000])
@pytest.mark.parametrize(
    "times",
    [
        "since=0001-01-01",
        "until=9999-12-31T23:59:58Z",
        "since=0001-01-01&until=9999-12-30",
        "since=1969-12-31",
    ],
)
def test_a_histogram_of_all_time_there_is(api: ServedApi, token: str, times: str, bars: int) -> None:
    found = ask(api, token, path="histogram", query=f"?{times}&bars={bars}")
    assert found["total"] == sum(bar["events"] for bar in found["bars"]) == 40
    assert 1 <= len(found["bars"]) <= bars


def test_facets_count_the_values_of_a_field(api: ServedApi, token: str) -> None:
    found = ask(api, token, path="facets/actor", query="?limit=2")
    assert [value["value"] for value in found["values"]] == ["usr_0", "usr_1"]
    assert (found["distinct"], found["total"]) == (3, 40)
    answer = api.get("/v1/accounts/acc_pages/facets/colour", token)
    assert (answer.status_code, answer.json()["errors"][0]["name"]) == (400, "field")


def test_the_catalog_is_listed(api: ServedApi, token: str) -> None:
    found = api.get("/v1/actions", token).json()
    assert found["catalog_version"] == api.backend.catalog.version
    assert [action["name"] for action in found["actions"]] == list(api.backend.catalog.actions)

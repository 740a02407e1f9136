"""Following a log over HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any
from uuid import uuid4

import httpx
import pytest

from auditlog_api import metrics
from auditlog_schemas.catalog import Catalog
from auditlog_storage.filters import Item
from auditlog_storage.tail import ENDS_KEPT_SECONDS
from auditlog_storage.tokens import TokenTable
from kit.served_api import ServedApi, serving
from storage.event_log import Log

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def tailing(database_url: str, catalog: Catalog) -> Iterator[ServedApi]:
    with serving(
        database_url,
        catalog,
        heartbeat_seconds=0.3,
        token_kept_seconds=0.2,
    ) as served:
        yield served


class Feed:
    """Publishes to an account: stores and records."""

    def __init__(self, log: Log) -> None:
        self.account = f"acc_{uuid4().hex}"
        # A topic of its own.
        self._log = Log(log.connection, log.catalog)

    def publish(self, count: int = 1, **fields: Any) -> list[str]:
        events = [self._log.event(account_id=self.account, **fields) for _ in range(count)]
        self._log.store(*events)
        return [str(event.event_id) for event in events]


class Following:
    """What came so far, read in a thread."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.messages: Queue[dict[str, str] | None] = Queue()
        self.comments = 0
        self.last_id = ""
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> dict[str, str]:
        """The next message with data."""
        message = self.messages.get(timeout=60)
        assert message is not None, "the connection has ended"
        return message

    def event_ids(self, count: int) -> list[str]:
        return [json.loads(self.next()["data"])["event_id"] for _ in range(count)]

    def ended(self) -> bool:
        return self.messages.get(timeout=60) is None

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            for line in self.answer.iter_lines():
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    fields[name] = value
                else:
                    self.last_id = fields.get("id", self.last_id)
                    if "data" in fields:
                        self.messages.put(fields)
                    fields = {}
        except httpx.HTTPError:
            pass
        self.messages.put(None)


@contextmanager
def following(
    api: ServedApi, account: str, token: str, query: str = "", **headers: str
) -> Iterator[Following]:
    path = f"{api.url}/v1/accounts/{account}/events/tail{query}"
    sent = {"Authorization": f"Bearer {token}"} | headers
    with (
        httpx.Client(trust_env=False, timeout=60) as client,
        client.stream("GET", path, headers=sent) as answer,
    ):
        if answer.status_code != 200:
            answer.read()
        yield Following(answer)


@pytest.fixture
def feed(log: Log) -> Feed:
    return Feed(log)


def test_events_come_as_they_are_recorded_and_go_on_behind_the_last_id(
    tailing: ServedApi, feed: Feed
) -> None:
    token = tailing.token(feed.account)
    feed.publish()
    with following(tailing, feed.account, token, "?sentences=true") as first:
        assert first.answer.headers["content-type"].startswith("text/event-stream")
        assert first.answer.headers["cache-control"] == "no-store"
        published = feed.publish(2)
        message = first.next()
        assert json.loads(message["data"])["sentence"].startswith("Ada updated license")
        assert [json.loads(message["data"])["event_id"], *first.event_ids(1)] == published
        behind_the_first = message["id"]
    missed = feed.publish(3)
    with following(tailing, feed.account, token, **{"Last-Event-ID": first.last_id}) as second:
        assert second.event_ids(3) == missed
    with following(tailing, feed.account, token, f"?last_event_id={behind_the_first}") as third:
        assert third.event_ids(4) == [published[1], *missed]


def test_only_what_the_filter_lets_through_comes(tailing: ServedApi, feed: Feed) -> None:
    with following(tailing, feed.account, tailing.token(feed.account), "?q=action:license_reset") as found:
        feed.publish(2)
        wanted = feed.publish(action="license_reset")
        assert found.event_ids(1) == wanted


def test_a_viewer_of_an_item_follows_this_item(tailing: ServedApi, feed: Feed) -> None:
    viewer = tailing.viewer(feed.account, Item("license", "lic_7"))
    with following(tailing, feed.account, viewer) as refused:
        assert refused.answer.status_code == 404
    with following(tailing, feed.account, viewer, "?item=license/lic_7") as found:
        feed.publish()
        wanted = feed.publish(entity={"type": "license", "id": "lic_7", "name": None})
        assert found.event_ids(1) == wanted


def test_a_quiet_connection_gives_a_sign_with_its_position(tailing: ServedApi, feed: Feed) -> None:
    feed.publish()
    # Who begins now may still get what was recorded since the last look at the ledger.
    time.sleep(ENDS_KEPT_SECONDS)
    with following(tailing, feed.account, tailing.token(feed.account)) as found:
        deadline = time.monotonic() + 60
        while found.comments < 2 or not found.last_id:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert found.messages.empty()


@pytest.mark.parametrize("why", ["expired", "revoked"])
def test_it_ends_when_its_token_does(tailing: ServedApi, feed: Feed, why: str) -> None:
    token = tailing.token(feed.account, expires_in_seconds=8 if why == "expired" else None)
    with following(tailing, feed.account, token) as found:
        assert found.answer.status_code == 200
        if why == "revoked":
            table = TokenTable(tailing.connection)
            table.revoke(table.tokens(feed.account)[0].token_id, feed.account, "tests")
        message = found.next()
        assert (message["event"], json.loads(message["data"])) == ("end", {"reason": why})
        assert found.ended()


def test_there_are_so_many_of_them_and_no_more(
    database_url: str, catalog: Catalog, feed: Feed, log: Log
) -> None:
    _wait_until_none_is_open()
    other = Feed(log)
    with (
        serving(database_url, catalog, heartbeat_seconds=0.3, account_tails_max=2, tails_max=3) as limited,
        following(limited, feed.account, limited.token(feed.account)) as first,
        following(limited, feed.account, limited.token(feed.account)) as second,
        following(limited, feed.account, limited.token(feed.account)) as one_too_many,
        following(limited, other.account, limited.token(other.account)) as of_another,
        following(limited, other.account, limited.token(other.account)) as full,
    ):
        assert (first.answer.status_code, second.answer.status_code) == (200, 200)
        assert one_too_many.answer.status_code == 429
        assert of_another.answer.status_code == 200
        assert full.answer.status_code == 503
        for refused in (one_too_many, full):
            assert int(refused.answer.headers["retry-after"]) >= 1
    _wait_until_none_is_open()


def _wait_until_none_is_open() -> None:
    deadline = time.monotonic() + 60
    while metrics.TAILS._value.get():
        assert time.monotonic() < deadline, "connections that have gone are still counted"
        time.sleep(0.05)


def test_a_mistake_is_answered_before_anything_is_sent(tailing: ServedApi, feed: Feed) -> None:
    token = tailing.token(feed.account)
    for query, status in (("?last_event_id=nonsense", 400), ("?q=action:", 400), ("?limit=3", 400)):
        with following(tailing, feed.account, token, query) as found:
            assert found.answer.status_code == status
    with following(tailing, feed.account, token, Accept="application/json") as found:
        assert found.answer.status_code == 406


def test_a_process_that_stops_says_so_and_does_not_wait(
    database_url: str, catalog: Catalog, log: Log
) -> None:
    feed = Feed(log)
    with serving(database_url, catalog) as served:
        connection = following(served, feed.account, served.token(feed.account))
        found = connection.__enter__()
        began = time.monotonic()
    message = found.next()
    assert (message["event"], json.loads(message["data"])) == ("end", {"reason": "stopping"})
    assert time.monotonic() - began < 15
    connection.__exit__(None, None, None)

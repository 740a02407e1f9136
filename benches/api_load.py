"""Fifty people read while the consumer works off a backlog: errors, waiting times, and what ingestion loses.

First the consumer stores a backlog by itself. Then, into the same table, it stores a second one while 50
readers, each of an account of its own and with a token of its own, ask `auditlog api` for what a person
looks at: the newest page, the page behind it, an item, a histogram, a facet, a search. After each answer a
reader looks at it for a second (`--pause`). Readers, API, consumer, broker and engine share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import httpx
from api_process import served
from consumer_run import LogLines, product, run_until_stored
from event_load import load_topic
from harness import Bench
from servers import Servers

from auditlog_api.new_token import made_token
from auditlog_local.child import Child
from auditlog_storage.connection import Connection
from auditlog_storage.tokens import TokenTable

PARTITIONS: Final = 8
READERS: Final = 50
SECONDS, QUICK_SECONDS = 60.0, 10.0
EVENTS_ALONE, QUICK_EVENTS_ALONE = 1_000_000, 200_000
EVENTS_BESIDE, QUICK_EVENTS_BESIDE = 4_000_000, 400_000
PAUSE_SECONDS: Final = 1.0
P99_MILLISECONDS_MAX: Final = 2_000.0
RUN_SECONDS_MAX: Final = 600.0


@dataclass
class Answers:
    """What the readers got: milliseconds by question, and everything that was no answer."""

    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    def percentile(self, share: float, question: str | None = None) -> float:
        """Return the time within which this share was answered; nan when there were none."""
        wanted = [self.milliseconds.get(question, [])] if question else self.milliseconds.values()
        times = sorted(one for times in wanted for one in times)
        return times[min(int(share * len(times)), len(times) - 1)] if times else float("nan")

    @property
    def count(self) -> int:
        """Return how many answers there were."""
        return sum(map(len, self.milliseconds.values()))


class Person:
    """One reader of one account."""

    def __init__(self, client: httpx.AsyncClient, account: str, token: str, answers: Answers) -> None:
        self._client = client
        self._account = account
        self._headers = {"Authorization": f"Bearer {token}"}
        self._answers = answers
        self._random = Random(account)

    async def read(self, until: asyncio.Event, pause_seconds: float) -> None:
        """Ask one question after the other until told to stop."""
        while not until.is_set():
            page = await self._ask("first page", "events?limit=50")
            event = self._random.choice(page["events"]) if page and page["events"] else None
            if page and page.get("next_cursor"):
                await self._ask("next page", f"events?limit=50&cursor={page['next_cursor']}")
            if event:
                item = event["entity"]
                await self._ask("item", f"items/{item['type']}/{item['id']}/events?limit=50")
                await self._ask("event", f"events/{event['event_id']}")
            await self._ask("histogram", "histogram")
            await self._ask("facet", "facets/action")
            await self._ask("search", f"events?limit=50&q=actor:usr_{self._random.randrange(50)}")
            await self._wait(until, pause_seconds)

    async def _ask(self, question: str, path: str) -> dict[str, Any] | None:
        begun = time.perf_counter()
        try:
            answer = await self._client.get(f"/v1/accounts/{self._account}/{path}", headers=self._headers)
        except httpx.HTTPError as error:
            self._answers.errors[f"{question}: {type(error).__name__}"] += 1
            return None
        if answer.status_code != 200:
            self._answers.errors[f"{question}: {answer.status_code}"] += 1
            return None
        took = (time.perf_counter() - begun) * 1_000
        self._answers.milliseconds.setdefault(question, []).append(took)
        found: dict[str, Any] = answer.json()
        return found

    async def _wait(self, until: asyncio.Event, seconds: float) -> None:
        try:
            await asyncio.wait_for(until.wait(), seconds * self._random.uniform(0.5, 1.5))
        except TimeoutError:
            return


def tokens_of(connection: Connection, accounts: list[str]) -> dict[str, str]:
    """Make a token for each account."""
    table, found = TokenTable(connection), {}
    for account in accounts:
        found[account], token = made_token(
            account_id=account, scope="read", name="bench", created_by="bench", expires_in_seconds=None
        )
        table.add(token)
    return found


def read_beside(
    servers: Servers, connection: Connection, topic: str, address: str, seconds: float, pause_seconds: float
) -> tuple[float, Answers]:
    """Run consumer and readers side by side; return events stored a second, and the answers."""
    tokens = tokens_of(connection, [f"acc_{number:06d}" for number in range(READERS)])
    consumer = Child(product(servers, connection.settings.url.get_secret_value(), topic), servers.directory)
    consumer.start()
    try:
        lines = LogLines(consumer, time.monotonic() + RUN_SECONDS_MAX)
        lines.wait_for("assigned")
        begun, stored, answers = time.monotonic(), 0, Answers()

        async def readers() -> None:
            until = asyncio.Event()
            limits = httpx.Limits(max_connections=READERS, max_keepalive_connections=READERS)
            async with httpx.AsyncClient(
                base_url=address, limits=limits, trust_env=False, timeout=60
            ) as client:
                people = [Person(client, account, token, answers) for account, token in tokens.items()]
                running = [asyncio.create_task(person.read(until, pause_seconds)) for person in people]
                await asyncio.sleep(seconds)
                until.set()
                await asyncio.gather(*running)

        asyncio.run(readers())
        took = time.monotonic() - begun
    finally:
        consumer.stop()
    rows = connection.query_rows(
        "SELECT sum(accepted) FROM audit_ranges FINAL WHERE topic = {topic:String}", {"topic": topic}
    )
    stored = int(rows[0][0])
    return stored / took, answers


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pause", type=float, default=PAUSE_SECONDS, help="seconds between two looks")


def main() -> None:
    bench = Bench(__doc__ or "", _options)
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    alone_events = QUICK_EVENTS_ALONE if bench.quick else EVENTS_ALONE
    beside_events = QUICK_EVENTS_BESIDE if bench.quick else EVENTS_BESIDE
    with Servers() as servers:
        first, _ = servers.new_topic(PARTITIONS)
        load_topic(servers.bootstrap, first, alone_events)
        second, _ = servers.new_topic(PARTITIONS)
        load_topic(servers.bootstrap, second, beside_events)
        connection = servers.new_database()
        url = connection.settings.url.get_secret_value()
        alone = run_until_stored(servers, product(servers, url, first), alone_events, RUN_SECONDS_MAX)
        with served(servers, connection) as address:
            rate, answers = read_beside(servers, connection, second, address, seconds, bench.options.pause)
    bench.row("", "answers", "p50 ms", "p99 ms")
    for question in ("", *answers.milliseconds):
        count = len(answers.milliseconds[question]) if question else answers.count
        p50, p99 = (answers.percentile(share, question or None) for share in (0.5, 0.99))
        bench.row(question or "all questions", f"{count:,}", f"{p50:.0f}", f"{p99:.0f}")
        for label, value in (("p50", p50), ("p99", p99)):
            bench.figure(f"{question.replace(' ', '_') or 'all'}_{label}_ms", value)
    for what, count in answers.errors.items():
        print(f"error: {what}, {count} times")
    slowdown = 1 - rate / alone.per_second
    bench.figure("answers_per_second", answers.count / seconds)
    bench.figure("ingest_alone_per_second", alone.per_second)
    bench.figure("ingest_beside_per_second", rate)
    bench.figure("ingest_slowdown", slowdown)
    print(f"the consumer stored {alone.per_second:,.0f} events/s alone, {rate:,.0f} beside the readers")
    bench.bar("errors", sum(answers.errors.values()), at_most=0)
    bench.bar("p99 of all answers, ms", answers.percentile(0.99), at_most=P99_MILLISECONDS_MAX)
    bench.finish()


if __name__ == "__main__":
    main()

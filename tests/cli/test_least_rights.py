"""Every process does its whole job as its own ClickHouse user, which may do nothing beyond it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from auditlog_exports.job import Shape
from auditlog_exports.jobs import Jobs
from auditlog_exports.object_store import ObjectStore
from auditlog_exports.settings import ExportSettings
from auditlog_exports.worker import Worker
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.errors import AuditError, ConfigError
from auditlog_storage.connection import Connection
from auditlog_storage.filters import EventFilter
from auditlog_storage.settings import StorageSettings
from auditlog_storage.users import ANALYST, API, CONSUMER, EXPORTS, LIMITS, MIGRATE
from cli.ran import Run
from kit.events import make_event
from kit.native_clickhouse import native_clickhouse
from kit.pipeline import Pipeline
from kit.served_api import serving

pytestmark = [pytest.mark.integration, pytest.mark.long]

As = Callable[[str], Connection]


@pytest.fixture(scope="module")
def url_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    with native_clickhouse(tmp_path_factory.mktemp("native") / "server", "audit-log") as url_of:
        yield url_of


@pytest.fixture(scope="module")
def pipeline(kafka_bootstrap: str, url_of: Callable[[str], str]) -> Iterator[Pipeline]:
    """Made by the migration's user, which also checks at the end."""
    pipeline = Pipeline(kafka_bootstrap, url_of(MIGRATE))
    yield pipeline
    pipeline.close()


@pytest.fixture(scope="module")
def connected(pipeline: Pipeline, url_of: Callable[[str], str]) -> Iterator[As]:
    made: list[Connection] = []

    def connected(user: str) -> Connection:
        made.append(Connection(StorageSettings.load(url=url_of(user))))
        return made[-1]

    yield connected
    for connection in made:
        connection.close()


def test_the_consumer_the_api_and_the_exports_do_their_jobs(
    pipeline: Pipeline, connected: As, url_of: Callable[[str], str], tmp_path: Path
) -> None:
    events = [make_event(account_id="acc_1") for _ in range(50)]
    pipeline.publish(events)
    pipeline.publish_raw([(b"acc_1", b"no event")])
    with pipeline.running(connected(CONSUMER)):
        pipeline.wait_until_caught_up()
    store = ExportSettings.load(url=tmp_path.as_uri(), poll_seconds=0.1)
    jobs = Jobs(store, ObjectStore(store.url), connected(API))
    with serving(url_of(API), exports=jobs) as api:
        token = api.token(scope="admin")
        # A group is looked up in audit_actions.
        group = quote(load_catalog().actions[events[0].action].group)
        page = api.get(f"/v1/accounts/acc_1/events?group={group}&limit=100", token).json()
        assert len(page["events"]) == 50
        for path in ("histogram", "facets/action", "tokens", "exports"):
            assert api.get(f"/v1/accounts/acc_1/{path}", token).status_code == 200, path
        made = api.ask("POST", "/v1/accounts/acc_1/tokens", token, json={"scope": "read", "name": "CI"})
        assert made.status_code == 201
        revoked = api.ask("DELETE", f"/v1/accounts/acc_1/tokens/{made.json()['token_id']}", token)
        assert revoked.status_code == 200
        assert api.get("/readyz").status_code == 200
    job, _ = jobs.create("acc_1", EventFilter(), Shape("jsonl", "none", False), "tests", None)
    worker = Worker(store, connected(EXPORTS))
    with ThreadPoolExecutor() as threads:
        running = threads.submit(worker.run)
        deadline = time.monotonic() + 120
        while (status := jobs.status("acc_1", job.job_id)).ending is None and time.monotonic() < deadline:
            time.sleep(0.1)
        worker.stop()
        running.result(60)
    assert status.ending is not None
    assert status.ending.rows == 50
    assert pipeline.check().rejected == 1


def test_the_doctor_looks_at_everything_as_the_consumer(
    pipeline: Pipeline, url_of: Callable[[str], str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITLOG_KAFKA", pipeline.settings.kafka)
    monkeypatch.setenv("AUDITLOG_TOPIC", pipeline.topic)
    monkeypatch.setenv("AUDITLOG_GROUP", pipeline.topic)
    monkeypatch.setenv("AUDITLOG_CLICKHOUSE_URL", url_of(CONSUMER))
    ran = run("doctor")
    assert "tables        version" in ran.out
    assert "wrong" not in ran.out
    assert "cannot be looked at" not in ran.out


REFUSED = {
    MIGRATE: ("CREATE USER other", "DROP DATABASE system", "GRANT SELECT ON *.* TO auditlog_api"),
    CONSUMER: (
        "SELECT count() FROM audit_tokens",
        "SELECT count() FROM audit_token_uses",
        "INSERT INTO audit_keys (name) VALUES ('cursor')",
        "ALTER TABLE audit_events DELETE WHERE 1",
    ),
    API: (
        "INSERT INTO audit_events (account_id) VALUES ('acc_1')",
        "INSERT INTO audit_ranges (topic) VALUES ('t')",
        "INSERT INTO audit_keys (name) VALUES ('cursor')",
        "INSERT INTO audit_actions (action) VALUES ('x')",
        "ALTER TABLE audit_tokens DELETE WHERE 1",
        "SELECT count() FROM audit_removals",
    ),
    EXPORTS: (
        "SELECT count() FROM audit_tokens",
        "SELECT count() FROM audit_keys",
        "INSERT INTO audit_events (account_id) VALUES ('acc_1')",
    ),
    ANALYST: (
        "SELECT count() FROM audit_tokens",
        "SELECT count() FROM audit_keys",
        "SELECT count() FROM audit_ranges",
        "SELECT count() FROM system.processes",
    ),
}
REFUSED_TO_EVERY_SERVICE = (
    "DROP TABLE audit_events",
    "TRUNCATE TABLE audit_events",
    "CREATE TABLE mine (a Int8) ENGINE = Memory",
    "CREATE USER other",
    "INSERT INTO audit_migrations (version) VALUES (99)",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
)


BEYOND = [(user, sql) for user, statements in REFUSED.items() for sql in statements] + [
    (user, sql) for user in REFUSED if user != MIGRATE for sql in REFUSED_TO_EVERY_SERVICE
]


@pytest.mark.parametrize(("user", "sql"), BEYOND)
def test_a_user_does_nothing_beyond_its_job(connected: As, user: str, sql: str) -> None:
    with pytest.raises(ConfigError, match=r"ACCESS_DENIED|READONLY"):
        connected(user).command(sql)


def test_the_analysts_queries_are_limited_together(connected: As) -> None:
    analyst = connected(ANALYST)
    slow = "SELECT count() FROM numbers(3) WHERE sleepEachRow(1) = 0 SETTINGS max_block_size = 1"

    def ask(_: int) -> AuditError | None:
        try:
            analyst.query_rows(slow)
        except AuditError as error:
            return error
        return None

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    refused = [str(error) for error in answers if error is not None]
    assert len(answers) - len(refused) >= LIMITS["max_concurrent_queries_for_user"] > 0
    assert refused
    assert all("Too many simultaneous queries for user" in error for error in refused)


def test_the_analysts_memory_is_limited_together(connected: As) -> None:
    analyst = connected(ANALYST)
    # 1.6 GB each: one may, two may not.
    big = "SELECT length(groupArray(number)) + sleep(3) FROM numbers(100_000_000)"

    def ask(_: int) -> str:
        try:
            return str(analyst.query_rows(big))
        except AuditError as error:
            return str(error)

    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(ask, range(3)))
    assert any("memory limit exceeded" in answer.lower() for answer in answers), answers


@pytest.mark.parametrize("setting", LIMITS)
def test_the_analyst_cannot_lift_a_limit(connected: As, setting: str) -> None:
    with pytest.raises(AuditError, match=setting):
        connected(ANALYST).command(f"SELECT 1 SETTINGS {setting} = {LIMITS[setting] + 1}")

"""When a server is away or refuses, a tenant is told so, and nothing of where it is or whom it knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
from moto.server import ThreadedMotoServer
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from api.api_routes import Address, addresses
from auditlog_api.token_text import new_token
from auditlog_exports.jobs import Jobs
from auditlog_exports.object_store import ObjectStore
from auditlog_exports.worker import Worker
from auditlog_local.ports import free_ports
from auditlog_schemas.catalog import Catalog
from auditlog_storage.connection import Connection
from auditlog_storage.settings import StorageSettings
from exports.lab import Lab
from kit.served_api import ServedApi, serving
from storage.event_log import Log

pytestmark = pytest.mark.integration

USER, DATABASE, FOLDER, BUCKET = "user_walrus", "database_heron", "folder_osprey", "bucket-puffin"
FAILURES = ("nobody listens", "unknown user", "unknown database", "no tables")


def refusing(clickhouse_url: str, why: str) -> str:
    """The URL of a ClickHouse that does not do what it is asked."""
    parts = urlsplit(clickhouse_url)
    if why == "nobody listens":
        return f"http://{USER}:pass_stork@127.0.0.1:{free_ports(1)[0]}/{DATABASE}"
    if why == "unknown user":
        parts = parts._replace(netloc=f"{USER}:pass_stork@{parts.hostname}:{parts.port}")
    # There always is one without our tables.
    path = "/default" if why == "no tables" else f"/{DATABASE}"
    return urlunsplit(parts._replace(path=path))


def words_of(url: str) -> set[str]:
    """What nobody may learn of a server."""
    parts = urlsplit(url)
    named = {
        USER,
        DATABASE,
        "pass_stork",
        str(parts.hostname),
        str(parts.port),
        "audit_tokens",
        "audit_events",
    }
    return named | {"8123", "AUDITLOG_CLICKHOUSE_URL", "ClickHouse at"}


def assert_untold(answer: httpx.Response, words: set[str]) -> None:
    told = answer.text + "".join(f"\n{name}: {value}" for name, value in answer.headers.items())
    assert [word for word in words if word in told] == [], told


def under_accounts(api: ServedApi) -> list[Address]:
    found = [each for each in addresses(api.app) if "{account}" in each.template]
    assert len(found) > 20
    return found


@pytest.mark.parametrize("why", FAILURES)
def test_no_route_names_the_clickhouse_that_fails(
    clickhouse_url: str, catalog: Catalog, tmp_path: Path, log: Log, why: str
) -> None:
    url = refusing(clickhouse_url, why)
    with Connection(StorageSettings.load(url=url)) as broken:
        lab = Lab(log, tmp_path)
        jobs = Jobs(lab.settings, lab.store, broken)
        with serving(url, catalog, exports=jobs) as api, capture_logs([merge_contextvars]) as logged:
            for address in under_accounts(api):
                # Looking an API token up fails; a signed one needs no looking up, and then reading fails.
                for token, failed in ((new_token(), {500, 503}), (api.viewer(), {500, 503, 403})):
                    for accepted in ("*/*", "text/html, */*"):
                        path, headers = address.path(), {"Accept": accepted, "X-Request-Id": "asked-7"}
                        answer = api.ask(address.method, path, token, headers, json=address.body)
                        assert_untold(answer, words_of(url))
                        assert answer.status_code in failed, (str(address), answer.text)
    told = [line for line in logged if line["event"] in ("unavailable", "failed")]
    assert told
    assert all(line["request_id"] == "asked-7" for line in told)
    assert any(urlsplit(url).hostname in line["error"] for line in told)


@pytest.fixture
def served(log: Log, database_url: str, catalog: Catalog, tmp_path: Path) -> Iterator[tuple[ServedApi, Lab]]:
    lab = Lab(log, tmp_path / FOLDER, give_up_seconds=0.3)
    lab.add(lab.events(5))
    with serving(database_url, catalog, exports=lab.jobs) as api:
        yield api, lab


def shown(api: ServedApi, lab: Lab, job_id: str) -> Iterator[httpx.Response]:
    """All that shows how an export stands."""
    token, path = api.token(lab.account, "export"), f"accounts/{lab.account}/exports"
    for where in (f"/v1/{path}/{job_id}", f"/v1/{path}", f"/{path}/{job_id}", f"/{path}"):
        yield api.get(where, token, headers={"Accept": "text/html" if "v1" not in where else "*/*"})


@pytest.mark.parametrize("why", FAILURES)
def test_an_export_that_failed_names_no_clickhouse(
    served: tuple[ServedApi, Lab], monkeypatch: pytest.MonkeyPatch, clickhouse_url: str, why: str
) -> None:
    api, lab = served
    url, job = refusing(clickhouse_url, why), lab.create()
    with Connection(StorageSettings.load(url=url)) as broken, capture_logs() as logged:
        Worker(lab.settings, broken).work_once()
        monkeypatch.setattr(api.backend, "exports", Jobs(lab.settings, lab.store, broken))
        path, token = f"accounts/{lab.account}/exports", api.token(lab.account, "export")
        for where, sent in ((f"/v1/{path}", {"json": {}}), (f"/{path}", {"data": {"format": "csv"}})):
            refused = api.ask("POST", where, token, **sent)
            assert refused.status_code in (500, 503)
            assert_untold(refused, words_of(url) | {FOLDER})
    for answer in shown(api, lab, job.job_id):
        assert answer.status_code == 200
        assert "the log cannot be read" in answer.text or answer.url.path.endswith("/exports")
        assert_untold(answer, words_of(url) | {FOLDER})
    [failed] = [line for line in logged if line["event"] == "failed" and "job" in line]
    assert failed["job"] == job.job_id
    assert str(urlsplit(url).port) in failed["error"]


def test_an_export_that_failed_names_no_folder(served: tuple[ServedApi, Lab]) -> None:
    api, lab = served
    job = lab.create()
    (lab.folder(job) / "plan.json").mkdir()
    with capture_logs() as logged:
        lab.worker().work_once()
    status = api.get(f"/v1/accounts/{lab.account}/exports/{job.job_id}", api.token(lab.account, "export"))
    assert status.json()["state"] == "failed"
    assert "the store of the exports fails" in status.json()["error"]
    for answer in shown(api, lab, job.job_id):
        assert_untold(answer, {FOLDER, "plan.json", "file:", "os error"})
    assert any(FOLDER in line.get("error", "") and line["job"] == job.job_id for line in logged)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`host:port` of an S3 without any bucket."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "stork")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    yield f"{host}:{port}"
    server.stop()


def out_of_reach(store: str, directory: Path) -> ObjectStore:
    if store == "a bucket that is not there":
        return ObjectStore(f"s3://{BUCKET}/{FOLDER}")
    found = ObjectStore((directory / "other" / FOLDER).as_uri())
    (directory / "other" / FOLDER).rmdir()
    (directory / "other" / FOLDER).write_text("in the way")
    return found


@pytest.mark.parametrize("store", ["a file in its place", "a bucket that is not there"])
def test_no_route_names_the_store_that_fails(
    served: tuple[ServedApi, Lab], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, s3: str, store: str
) -> None:
    api, lab = served
    broken = Jobs(lab.settings, out_of_reach(store, tmp_path), lab.log.connection)
    monkeypatch.setattr(api.backend, "exports", broken)
    token, seen = api.token(lab.account, "export"), set()
    for address in under_accounts(api):
        if "exports" in address.template:
            for accepted in ("application/json", "text/html"):
                path, headers = address.path(account=lab.account), {"Accept": accepted}
                answer = api.ask(address.method, path, token, headers, json=address.body)
                seen.add(answer.status_code)
                assert_untold(answer, {FOLDER, BUCKET, s3, "os error", "stork", str(tmp_path)})
    assert seen & {404, 503}
    assert 500 not in seen

"""Exports over HTTP: made, watched, downloaded, and recorded in the log."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from auditlog_exports.worker import Worker
from auditlog_schemas.catalog import Catalog
from exports.lab import Lab
from kit.served_api import ServedApi, serving
from storage.event_log import Log

pytestmark = pytest.mark.integration


class Served:
    """An API with exports, a worker to be run by hand, and what was recorded."""

    def __init__(self, api: ServedApi, lab: Lab, recorded: list[tuple[str, str]]) -> None:
        self.api = api
        self.lab = lab
        self.recorded = recorded
        self.token = api.token(lab.account, "export")

    def ask(self, method: str, path: str = "", token: str | None = None, **more: Any) -> httpx.Response:
        where = f"/v1/accounts/{self.lab.account}/exports{path}"
        return self.api.ask(method, where, token or self.token, **more)

    def finished(self, **wanted: Any) -> str:
        answer = self.ask("POST", json=wanted)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["job_id"]
        Worker(self.lab.settings, self.lab.log.connection).work_once()
        assert self.ask("GET", f"/{job_id}").json()["state"] == "finished"
        return job_id


@pytest.fixture
def served(
    log: Log, database_url: str, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    lab = Lab(log, tmp_path)
    lab.add(lab.events(250))
    recorded: list[tuple[str, str]] = []
    with serving(database_url, catalog, exports=lab.jobs) as api:
        monkeypatch.setattr(
            api.backend.own_events, "export", lambda action, job, *_: recorded.append((action, job.job_id))
        )
        yield Served(api, lab, recorded)


def test_an_export_from_the_request_to_the_file(served: Served) -> None:
    wanted = {"format": "csv", "compression": "none", "q": "action:order_created"}
    answer = served.ask("POST", json=wanted, headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert answer.headers["location"].endswith(f"/exports/{made['job_id']}")
    assert (made["state"], made["filter"]) == ("queued", {"search": "action:order_created"})
    again = served.ask("POST", json=wanted, headers={"Idempotency-Key": "k1"})
    assert again.json()["job_id"] == made["job_id"]
    other = served.ask("POST", json={**wanted, "format": "jsonl"}, headers={"Idempotency-Key": "k1"})
    assert (other.status_code, other.json()["type"]) == (409, "urn:auditlog:problem:conflict")
    early = served.ask("GET", f"/{made['job_id']}/download")
    assert early.status_code == 409
    Worker(served.lab.settings, served.lab.log.connection).work_once()
    status = served.ask("GET", f"/{made['job_id']}").json()
    assert (status["state"], status["rows_done"], status["parts_done"]) == ("finished", 125, 2)
    whole = served.ask("GET", f"/{made['job_id']}/download")
    assert int(whole.headers["content-length"]) == len(whole.content)
    assert whole.headers["content-disposition"] == f'attachment; filename="{made["job_id"]}.csv"'
    rows = list(csv.DictReader(io.StringIO(whole.text, newline="")))
    assert len(rows) == 125
    assert {row["action"] for row in rows} == {"order_created"}
    parts = served.ask("GET", f"/{made['job_id']}/parts?after=1").json()["parts"]
    assert [part["part"] for part in parts] == [2]
    part = served.ask("GET", f"/{made['job_id']}/parts/2")
    assert len(part.content) == parts[0]["bytes"]
    manifest = served.ask("GET", f"/{made['job_id']}/manifest").json()
    assert manifest["rows"] == 125
    assert served.recorded == [
        ("export_created", made["job_id"]),
        ("export_downloaded", made["job_id"]),
        ("export_downloaded", made["job_id"]),
    ]


def test_parquet_as_one_file_and_links_where_there_are_none(served: Served) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    job_id = served.finished(format="parquet")
    whole = served.ask("GET", f"/{job_id}/download")
    assert pq.read_table(pa.BufferReader(whole.content)).num_rows == 250
    assert served.ask("POST", f"/{job_id}/links").status_code == 501


def test_a_changed_file_is_not_served_as_a_whole_one(served: Served) -> None:
    job_id = served.finished(format="jsonl")
    [path] = served.lab.directory.rglob("part-00002.jsonl")
    path.write_bytes(path.read_bytes().replace(b"license", b"licence", 1))
    # Its log would hold a traceback.
    with capture_logs(), pytest.raises(httpx.RemoteProtocolError):
        served.ask("GET", f"/{job_id}/download")


def test_cancelling_and_deleting(served: Served) -> None:
    job_id = served.ask("POST", json={}).json()["job_id"]
    assert served.ask("DELETE", f"/{job_id}").status_code == 409
    assert served.ask("POST", f"/{job_id}/cancel").json()["state"] == "cancelled"
    assert [each["job_id"] for each in served.ask("GET").json()["exports"]] == [job_id]
    assert served.ask("DELETE", f"/{job_id}").status_code == 204
    assert served.ask("GET", f"/{job_id}").status_code == 404
    assert [action for action, _ in served.recorded] == [
        "export_created",
        "export_cancelled",
        "export_deleted",
    ]


def test_it_takes_a_token_that_may_export(served: Served) -> None:
    job_id = served.ask("POST", json={}).json()["job_id"]
    reading = served.api.token(served.lab.account, "read")
    for method, path in (("POST", ""), ("GET", ""), ("GET", f"/{job_id}"), ("GET", f"/{job_id}/download")):
        answer = served.ask(method, path, reading, **({"json": {}} if method == "POST" else {}))
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:auditlog:problem:scope-missing")
    strange = served.api.token("acc_strange", "export")
    assert served.ask("GET", f"/{job_id}", strange).status_code == 404
    theirs = served.api.get(f"/v1/accounts/acc_strange/exports/{job_id}", strange)
    assert theirs.status_code == 404
    assert served.lab.account not in theirs.text


def test_mistakes_are_named(served: Served) -> None:
    for wanted, name in (
        ({"format": "xml"}, "format"),
        ({"nonsense": 1}, "nonsense"),
        ({"q": "action:"}, "q"),
    ):
        answer = served.ask("POST", json=wanted)
        assert answer.status_code == 400, answer.text
        assert answer.json()["errors"][0]["name"] == name
    for _ in range(served.lab.settings.account_open_max):
        assert served.ask("POST", json={}).status_code == 202
    assert served.ask("POST", json={}).status_code == 429


def test_without_a_store_there_are_no_exports(api: ServedApi) -> None:
    answer = api.get("/v1/accounts/acc_1/exports", api.token("acc_1", "export"))
    assert answer.status_code == 501
    assert "AUDITLOG_EXPORT_URL" in json.loads(answer.content)["detail"]

"""S3, as moto's server plays it: the same jobs, conditional writes, links, and no half upload left behind."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from auditlog_exports.download import one_file
from auditlog_exports.lease import Leases
from auditlog_exports.object_store import CHUNK_BYTES, ObjectStore
from auditlog_exports.places import Place
from exports.lab import Lab
from storage.event_log import Log

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Bucket:
    """A bucket of the test's own, and where it is served."""

    name: str
    endpoint: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}/audit/exports"

    def ask(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(f"{self.endpoint}/{self.name}{path}", method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            found: bytes = answer.read()
        return found


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": endpoint,
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    made = Bucket(f"bucket-{uuid4().hex[:8]}", endpoint)
    made.ask("PUT", "")
    return made


def test_a_job_on_s3(log: Log, tmp_path: Path, bucket: Bucket) -> None:
    lab = Lab(log, tmp_path, url=bucket.url)
    lab.add(lab.events(250))
    job = lab.create("jsonl", "gzip")
    assert lab.finish(job).state == "finished"
    there = Lab(log, tmp_path / "files")
    there.account = lab.account
    same = there.create("jsonl", "gzip")
    there.finish(same)
    whole = b"".join(one_file(lab.jobs, job))
    assert whole == b"".join(one_file(there.jobs, same))
    place = Place(job.account_id, job.job_id)
    link = lab.store.link(place / "part-00001.jsonl.gz", 60)
    assert lab.store.signs
    assert "X-Amz-Expires=60" in link
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(link, timeout=30) as answer:
        assert whole.startswith(answer.read())
    lab.jobs.delete(lab.account, job.job_id)
    assert not list(lab.store.objects("exports"))


def test_what_is_there_is_not_created_again(bucket: Bucket) -> None:
    store = ObjectStore(bucket.url)
    assert store.create("a/b.json", {"first": 1})
    assert not store.create("a/b.json", {"second": 2})
    assert store.read("a/b.json") == {"first": 1}
    place = Place("acc_1", "exp_" + "a" * 26)
    taken = [Leases(store, f"worker {number}", 60).take(place) for number in range(3)]
    assert [lease is not None for lease in taken] == [True, False, False]


def test_an_upload_that_is_given_up_leaves_nothing(bucket: Bucket) -> None:
    store = ObjectStore(bucket.url)

    def broken() -> Iterator[bytes]:
        for _ in range(3):
            yield b"x" * CHUNK_BYTES
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        store.stream("a/part", broken())
    assert not list(store.objects("a"))
    assert b"<Upload>" not in bucket.ask("GET", "?uploads")

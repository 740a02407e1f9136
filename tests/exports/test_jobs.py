"""Jobs: their snapshot, parts, manifest, states and limits."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from auditlog_exports.errors import Conflict, TooManyExports
from auditlog_exports.job import Job, Shape
from auditlog_exports.places import Place, account_name
from auditlog_schemas.errors import BadFilter, NotFound
from auditlog_storage.event_csv import csv_header
from auditlog_storage.filters import EventFilter, Item
from auditlog_storage.search import parse_search
from exports.lab import Lab, content, parts

pytestmark = pytest.mark.integration


def ids(lab: Lab, job: Job) -> list[str]:
    lines = b"".join(content(file) for file in parts(lab.folder(job))).decode().split("\n")
    return [json.loads(line)["event_id"] for line in lines if line]


def manifest(lab: Lab, job: Job) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((lab.folder(job) / "manifest.json").read_bytes())
    return found


def test_the_manifest_says_what_there_is(lab: Lab) -> None:
    lab.add(lab.events(250))
    job = lab.create("csv", "zstd")
    status = lab.finish(job)
    found = manifest(lab, job)
    assert (status.ending.rows, status.ending.parts) == (found["rows"], len(found["parts"])) == (250, 3)  # type: ignore[union-attr]
    assert [part["rows"] for part in found["parts"]] == [100, 100, 50]
    for part in found["parts"]:
        data = (lab.folder(job) / part["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (part["bytes"], part["sha256"])
    assert found["actions"] == {"license_updated": 125, "order_created": 125}
    assert found["bytes"] == sum(part["bytes"] for part in found["parts"])
    # Other accounts' offsets are in there, and the manifest is the account's.
    assert "snapshot" not in found
    assert found["schema"] == "auditlog.v1.AuditEvent"
    assert lab.jobs.parts(lab.account, job.job_id, after=1, limit=1)[0].number == 2
    assert not lab.store.find(Place(lab.account, job.job_id).open_mark)


def test_what_comes_after_the_job_was_made_is_not_in_it(lab: Lab) -> None:
    events = lab.events(60)
    lab.add(events[:30])
    lab.add(events[30:40], recorded=False)
    job = lab.create()
    lab.record(30, 39)
    lab.add(events[40:])
    lab.finish(job)
    assert set(ids(lab, job)) == {str(event.event_id) for event in events[:30]}


def test_a_job_waits_until_its_server_has_the_snapshot(lab: Lab) -> None:
    lab.add(lab.events(10))
    job = lab.create()
    table = f"{lab.log.connection.database}.audit_ranges"
    topic = {"topic": lab.log.topic_id}
    connection = lab.log.connection
    [before] = connection.query_rows(f"SELECT count() FROM {table} WHERE topic_id = {{topic:UUID}}", topic)
    # As on a replica that is behind.
    connection.command(
        f"ALTER TABLE {table} DELETE WHERE topic_id = '{lab.log.topic_id}'", {}, {"mutations_sync": 2}
    )
    assert before == (1,)
    worker = lab.worker()
    from exports.lab import run_in_thread

    thread = run_in_thread(worker)
    try:
        deadline = time.monotonic() + 30
        while not lab.status(job).progress.waiting:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert "snapshot" in lab.status(job).progress.waiting
        lab.record(0, 9)
        while lab.status(job).ending is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        worker.stop()
        thread.join()
    assert lab.status(job).state == "finished"
    assert len(ids(lab, job)) == 10


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_an_account_without_events_gets_an_empty_file(lab: Lab, format: str) -> None:
    job = lab.create(format)
    lab.finish(job)
    [file] = parts(lab.folder(job))
    found = manifest(lab, job)
    assert (found["rows"], found["first"], found["actions"]) == (0, None, {})
    assert found["parts"][0]["bytes"] == file.stat().st_size
    if format == "parquet":
        assert pq.read_table(file).num_rows == 0
    else:
        assert content(file).decode() == (csv_header() if format == "csv" else "")


def test_a_row_that_is_stored_twice_is_exported_once(lab: Lab) -> None:
    events = lab.events(150)
    lab.add(events, again=True)
    job = lab.create()
    assert lab.finish(job).state == "finished"
    exported = ids(lab, job)
    assert sorted(exported) == sorted(str(event.event_id) for event in events)
    assert manifest(lab, job)["actions"] == {"license_updated": 75, "order_created": 75}


def test_parts_are_bounded_by_bytes_too(lab: Lab) -> None:
    lab.settings = lab.settings.model_copy(update={"part_bytes_max": 20_000})
    lab.jobs.settings = lab.settings
    lab.add(lab.events(60))
    job = lab.create()
    lab.finish(job)
    sizes = [file.stat().st_size for file in parts(lab.folder(job))]
    assert len(sizes) > 3
    assert max(sizes) <= 20_000
    assert len(ids(lab, job)) == 60


def test_every_filter_holds(lab: Lab) -> None:
    events = lab.events(60)
    lab.add(events)
    now = datetime(2026, 3, 1, 13, tzinfo=UTC)
    filters = [
        EventFilter(actions=("order_created",)),
        EventFilter(item=Item("customer", "cus_1")),
        EventFilter(since=events[20].occurred_at, until=events[40].occurred_at),
        EventFilter(search=parse_search("action:license.* created:>=90m -ip:10.0.0.0/8", now), ip="10.*"),
        EventFilter(search=parse_search("script ip:10.0.0.0/8", now)),
    ]
    from auditlog_storage.reader import LogReader

    for filter in filters:
        shown = LogReader(lab.log.connection).timeline(lab.account, filter, 1_000).events
        job = lab.create(filter=filter)
        assert Job.from_json(job.to_json()) == job
        lab.finish(job)
        assert ids(lab, job) == [str(stored.event.event_id) for stored in shown][::-1]
        lab.jobs.delete(lab.account, job.job_id)
    assert not list(lab.directory.rglob("*.json*"))


def test_the_same_key_makes_one_job(lab: Lab) -> None:
    lab.add(lab.events(3))
    shape = Shape("csv")
    first, is_new = lab.jobs.create(lab.account, EventFilter(), shape, "me", "key-1")
    again, is_new_again = lab.jobs.create(lab.account, EventFilter(), shape, "me", "key-1")
    assert (is_new, is_new_again, again) == (True, False, first)
    with pytest.raises(Conflict):
        lab.jobs.create(lab.account, EventFilter(), Shape("jsonl"), "me", "key-1")
    other, is_new = lab.jobs.create("acc_other", EventFilter(), shape, "me", "key-1")
    assert is_new
    assert other.job_id != first.job_id
    lab.finish(first)
    assert lab.jobs.create(lab.account, EventFilter(), shape, "me", "key-1")[0] == first
    with pytest.raises(BadFilter):
        lab.jobs.create(lab.account, EventFilter(), shape, "me", "a\nb")


def test_cancelling_before_and_after_the_end(lab: Lab) -> None:
    lab.add(lab.events(5))
    queued = lab.create()
    assert lab.jobs.cancel(lab.account, queued.job_id).state == "cancelled"
    assert not lab.worker().work_once()
    done = lab.create()
    lab.finish(done)
    with pytest.raises(Conflict):
        lab.jobs.cancel(lab.account, done.job_id)
    with pytest.raises(Conflict):
        lab.jobs.manifest(lab.account, queued.job_id)


def test_another_accounts_job_is_not_found(lab: Lab) -> None:
    job = lab.create()
    for account, job_id in (("acc_2", job.job_id), (lab.account, "exp_" + "a" * 26), (lab.account, "../x")):
        with pytest.raises(NotFound):
            lab.jobs.status(account, job_id)
    with pytest.raises(Conflict):
        lab.jobs.delete(lab.account, job.job_id)


def test_an_account_may_have_so_many(lab: Lab) -> None:
    for _ in range(lab.settings.account_open_max):
        lab.create()
    with pytest.raises(TooManyExports):
        lab.create()
    assert len(lab.jobs.of_account(lab.account)) == lab.settings.account_open_max


def test_what_has_expired_is_deleted_and_what_runs_is_not(lab: Lab) -> None:
    lab.add(lab.events(5))
    lab.jobs.settings = lab.settings = lab.settings.model_copy(update={"keep_seconds": 1.0})
    done, queued = lab.create(), None
    lab.finish(done)
    kept = lab.worker(keep_seconds=3600)
    queued = lab.create()
    time.sleep(1.1)
    kept.clear_away()
    with pytest.raises(NotFound):
        lab.status(done)
    assert lab.status(queued).state == "queued"
    assert not lab.folder(done).exists()


@pytest.mark.parametrize("account", ["a/../b", "..", "~", "acc 1%2F", "ü" * 100, "x" * 256])
def test_an_accounts_folder_is_one_harmless_name(account: str) -> None:
    name = account_name(account)
    assert name.isascii()
    assert "/" not in name
    assert "." not in name
    assert len(name) <= 100
    assert account_name(account + "x") != name

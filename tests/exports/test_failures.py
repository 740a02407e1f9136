"""What an export survives: the result is the same, byte for byte, or there is none that looks whole."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from auditlog_exports import columns
from auditlog_exports.job import Job, Shape
from auditlog_exports.lease import Lease
from auditlog_exports.part import Part
from auditlog_exports.places import Place
from auditlog_exports.run import JobRun
from auditlog_exports.worker import Worker
from auditlog_storage.connection import Connection
from auditlog_storage.event_stream import EventStream
from auditlog_storage.settings import StorageSettings
from exports import killed_worker
from exports.cut_door import CutDoor
from exports.lab import Lab, content, parts, run_in_thread

pytestmark = pytest.mark.integration

RUNS = 20
SHAPES = (("csv", "zstd"), ("jsonl", "gzip"), ("parquet", "none"), ("jsonl", "none"))


def result(folder: Path) -> dict[str, bytes]:
    """What an export consists of."""
    return {path.name: path.read_bytes() for path in [*parts(folder), folder / "manifest.json"]}


def again(lab: Lab, job: Job, directory: Path) -> Lab:
    """The same job in another store, not begun."""
    other = Lab(lab.log, directory, **{**lab.settings.model_dump(), "url": directory.as_uri()})
    place = Place(job.account_id, job.job_id)
    other.store.create(place.open_mark, {"account_id": job.account_id, "job_id": job.job_id, "at": ""})
    other.store.create(place / "job.json", job.to_json())
    return other


def _glob(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def until(holds: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def working(worker: Worker) -> Iterator[None]:
    thread = run_in_thread(worker)
    try:
        yield
    finally:
        worker.stop()
        thread.join(60)
        assert not thread.is_alive()


def test_killed_workers_leave_the_same_bytes(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    url = lab.log.connection.settings.url.get_secret_value()
    lab.settings = lab.settings.model_copy(update={"lease_seconds": 0.4, "part_rows_max": 20})
    lab.jobs.settings = lab.settings
    lab.add(lab.events(400))
    jobs, whole, took = {}, {}, 0.0
    for shape in SHAPES:
        jobs[shape] = lab.create(*shape)
        began = time.monotonic()
        lab.finish(jobs[shape])
        took = max(took, time.monotonic() - began)
        whole[shape] = result(lab.folder(jobs[shape]))
    forks, half_done = killed_worker.context(), 0
    for seed in range(RUNS):
        shape = SHAPES[seed % len(SHAPES)]
        other = again(lab, jobs[shape], tmp_path_factory.mktemp("killed"))
        process = killed_worker.start(forks, other.settings, url)
        chance = random.Random(seed)
        folder, parts_before = other.folder(jobs[shape]), chance.randrange(20)
        begun = "leases/*.json" if not parts_before else f"records/{parts_before:05d}.json"
        until(partial(_glob, folder, begun))
        time.sleep(chance.uniform(0, took / 20))
        process.kill()
        process.join()
        done = len(list(other.folder(jobs[shape]).glob("records/*.json")))
        half_done += 0 < done < 20
        print(f"seed {seed}: {shape}, killed with {done} of 20 parts done")
        other.finish(jobs[shape], other.worker())
        assert result(other.folder(jobs[shape])) == whole[shape], f"seed {seed}"
        shutil.rmtree(other.directory)
    assert half_done >= RUNS // 4, "the kills did not hit the work"


def test_a_worker_with_a_full_disk_leaves_no_short_file(lab: Lab) -> None:
    lab.settings = lab.settings.model_copy(update={"part_rows_max": 200, "lease_seconds": 0.4})
    lab.jobs.settings = lab.settings
    lab.add(lab.events(400))
    job = lab.create("jsonl")
    url = lab.log.connection.settings.url.get_secret_value()
    process = killed_worker.start(killed_worker.context(), lab.settings, url, file_bytes_max=50_000)
    try:
        until(lambda: lab.status(job).progress.waiting)
        assert "the store of the exports fails" in lab.status(job).progress.waiting
        assert parts(lab.folder(job)) == []
    finally:
        process.kill()
        process.join()
    lab.finish(job)
    assert [len(content(file).splitlines()) for file in parts(lab.folder(job))] == [200, 200]


def test_a_store_that_refuses_is_waited_for(lab: Lab) -> None:
    lab.add(lab.events(150))
    job = lab.create()
    records = lab.folder(job) / "records"
    records.write_text("in the way")
    with working(lab.worker()):
        until(lambda: lab.status(job).progress.waiting)
        assert lab.status(job).state == "running"
        records.unlink()
        until(lambda: lab.status(job).ending)
    assert lab.status(job).state == "finished"


def test_a_job_that_gets_no_further_fails_in_the_end(lab: Lab) -> None:
    lab.add(lab.events(5))
    job = lab.create()
    (lab.folder(job) / "plan.json").mkdir()
    with working(lab.worker(give_up_seconds=0.5)):
        until(lambda: lab.status(job).ending)
    status = lab.status(job)
    assert status.state == "failed"
    assert "the store of the exports fails" in status.ending.error  # type: ignore[union-attr]
    assert parts(lab.folder(job)) == []


def test_two_workers_and_one_that_was_thought_dead(lab: Lab, tmp_path: Path) -> None:
    lab.settings = lab.settings.model_copy(update={"part_rows_max": 20})
    lab.jobs.settings = lab.settings
    lab.add(lab.events(400))
    job = lab.create("csv", "gzip")
    with working(lab.worker()), working(lab.worker()):
        until(lambda: lab.status(job).ending)
    leases = list(lab.folder(job).glob("leases/*.json"))
    assert len(leases) == 1
    # Two that both believe in their lease, side by side from beginning to end.
    other = again(lab, job, tmp_path / "other")
    events, place, failures = EventStream(lab.log.connection), Place(job.account_id, job.job_id), []

    def believe(number: int) -> None:
        lease = Lease(other.store, place, number, f"worker {number}", 1_000)
        lease.check = lambda: None  # type: ignore[method-assign]
        try:
            JobRun(other.jobs, events, job, lease, f"worker {number}").run()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=believe, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert result(other.folder(job)) == result(lab.folder(job))


def test_clickhouse_that_goes_in_the_middle_is_waited_for(lab: Lab, tmp_path: Path) -> None:
    lab.add(lab.events(400))
    job = lab.create("jsonl", "zstd")
    lab.finish(job)
    other = again(lab, job, tmp_path / "other")
    parsed = urlsplit(lab.log.connection.settings.url.get_secret_value())
    with CutDoor(str(parsed.hostname), int(parsed.port or 0)) as door:
        url = urlunsplit(parsed._replace(netloc=f"default:@127.0.0.1:{door.port}"))
        with Connection(StorageSettings.load(url=url)) as connection:
            connection.query_rows("SELECT 1")
            worker = Worker(other.settings, connection)
            door.shut_after(330_000)
            with working(worker):
                until(lambda: other.status(job).progress.waiting)
                assert other.status(job).state == "running"
                assert 0 < len(parts(other.folder(job))) < 4
                time.sleep(1)
                door.open()
                until(lambda: other.status(job).ending)
    assert door.cuts == 1
    assert result(other.folder(job)) == result(lab.folder(job))


def test_an_error_after_the_first_bytes_fails_the_part_alone(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.add(lab.events(400))
    lab.multiply(50)
    lab.settings = lab.settings.model_copy(update={"part_rows_max": 2_000})
    lab.jobs.settings = lab.settings
    job = lab.create("csv")
    lab.finish(job)
    other = again(lab, job, tmp_path / "other")
    selected, asked = columns.selected, []

    def broken_once(shape: Shape) -> str:
        asked.append(shape)
        columns = selected(shape)
        return f"{columns}, throwIf(kafka_offset = 19000) AS broken" if len(asked) == 1 else columns

    monkeypatch.setattr(columns, "selected", broken_once)
    other.finish(job)
    assert len(asked) == 2
    assert result(other.folder(job)) == result(lab.folder(job))


def test_a_result_that_ends_early_is_no_result(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.add(lab.events(250))
    job = lab.create("csv")
    batches, calls = EventStream.batches, []

    @contextmanager
    def short_once(self: EventStream, *args: Any, **more: Any) -> Iterator[Any]:
        with batches(self, *args, **more) as found:
            calls.append(more["after"])
            yield (next(found) for _ in range(2)) if len(calls) == 1 else found

    monkeypatch.setattr(EventStream, "batches", short_once)
    lab.finish(job)
    assert len(calls) == 2
    assert [part.rows for part in lab.jobs.parts(lab.account, job.job_id)] == [100, 100, 50]


def test_cancelling_in_the_middle_of_a_part_leaves_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.settings = lab.settings.model_copy(update={"part_rows_max": 300})
    lab.jobs.settings = lab.settings
    lab.add(lab.events(600))
    job = lab.create("jsonl")
    batches, slow = EventStream.batches, threading.Event()

    @contextmanager
    def slowly(self: EventStream, *args: Any, **more: Any) -> Iterator[Any]:
        def each(found: Iterator[Any]) -> Iterator[Any]:
            for number, batch in enumerate(found):
                if number > 5:
                    slow.set()
                    time.sleep(0.3)
                yield batch

        with batches(self, *args, **more) as found:
            yield each(found)

    monkeypatch.setattr(EventStream, "batches", slowly)
    with working(lab.worker()):
        assert slow.wait(30)
        until(lambda: parts(lab.folder(job)))
        assert lab.jobs.cancel(lab.account, job.job_id).state == "cancelling"
        until(lambda: lab.status(job).ending)
    assert lab.status(job).state == "cancelled"
    left = {path.name for path in lab.folder(job).rglob("*") if path.is_file()}
    assert not {name for name in left if name.startswith(("part-", "manifest"))}, left


def test_a_part_that_was_lost_is_written_again(lab: Lab, tmp_path: Path) -> None:
    lab.add(lab.events(250))
    job = lab.create("csv")
    lab.finish(job)
    other = again(lab, job, tmp_path / "other")
    shutil.copytree(lab.folder(job) / "records", other.folder(job) / "records")
    shutil.copy(lab.folder(job) / "part-00001.csv", other.folder(job))
    other.finish(job)
    assert result(other.folder(job)) == result(lab.folder(job))


def test_ten_thousand_parts_are_resumed_and_listed(lab: Lab) -> None:
    count = 10_000
    lab.settings = lab.settings.model_copy(update={"part_rows_max": 1, "lease_seconds": 60.0})
    lab.jobs.settings = lab.settings
    lab.add(lab.events(count, changes=[], metadata={}, related=[]))
    job = lab.create("jsonl")
    # All but the last ones as an earlier worker left them.
    whole = Lab(lab.log, lab.directory / "whole", part_rows_max=count + 1, block_rows_max=8_192)
    whole.account = lab.account
    [file] = parts(whole.exported(format="jsonl"))
    for number, line in enumerate(file.read_bytes().splitlines(keepends=True)[: count - 3], start=1):
        _leave_part(lab, job, number, line)
    status = lab.finish(job)
    assert status.ending is not None
    assert (status.ending.parts, status.ending.rows) == (count, count)
    listed = lab.jobs.parts(lab.account, job.job_id, after=count - 5, limit=1_000)
    assert [part.number for part in listed] == list(range(count - 4, count + 1))
    manifest = lab.jobs.manifest(lab.account, job.job_id)
    assert len({part["file"] for part in manifest["parts"]}) == count


def _leave_part(lab: Lab, job: Job, number: int, line: bytes) -> None:
    from hashlib import sha256

    event = json.loads(line)
    place = {"occurred_at": event["occurred_at"], "event_id": event["event_id"]}
    record: dict[str, Any] = {
        "part": number,
        "file": job.shape.file_name(number),
        "rows": 1,
        "bytes": len(line),
        "sha256": sha256(line).hexdigest(),
        "head_bytes": 0,
        "first": place,
        "last": place,
        "actions": {event["action"]: 1},
    }
    assert Part.from_json(record).to_json() == record
    folder = lab.folder(job)
    (folder / "records").mkdir(exist_ok=True)
    (folder / record["file"]).write_bytes(line)
    (folder / "records" / f"{number:05d}.json").write_text(json.dumps(record))

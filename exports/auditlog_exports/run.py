"""Working on one job: from its snapshot to its manifest, whatever was done before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import structlog

from auditlog_exports import columns
from auditlog_exports.ahead import reading_ahead
from auditlog_exports.cut import Cutter, Limits, line_sizes, row_sizes
from auditlog_exports.errors import NotAsCounted, Stopped, StoreUnavailable, for_owner
from auditlog_exports.job import Job
from auditlog_exports.jobs import Jobs
from auditlog_exports.lease import Lease
from auditlog_exports.manifest import manifest_json
from auditlog_exports.part import Part, PartInMaking
from auditlog_exports.places import MANIFEST, Place
from auditlog_exports.progress import Progress
from auditlog_schemas.errors import AuditError, NotFound, TerminalError, TransientError
from auditlog_storage.event_stream import EventStream
from auditlog_storage.moments import rfc3339

RECORD_READERS: Final = 16
PROGRESS_SECONDS: Final = 1.0
_WAIT_SECONDS: Final = (0.5, 15.0)

_log = structlog.get_logger("auditlog.exports")


class JobRun:
    """One worker's work on one job.

    Args:
        jobs: where the job is.
        events: where the events are.
        job: the job.
        lease: the right to work on it, being renewed.
        worker: the worker's name, for people.
    """

    def __init__(self, jobs: Jobs, events: EventStream, job: Job, lease: Lease, worker: str) -> None:
        self._jobs = jobs
        self._store = jobs.store
        self._events = events
        self._job = job
        self._lease = lease
        self._worker = worker
        self._log = _log.bind(account=job.account_id, job=job.job_id, lease=lease.number)
        self._place = Place(job.account_id, job.job_id)
        self._parts: list[Part] = []
        self._expected: int | None = None
        self._waiting = ""
        self._told = 0.0
        self._began = time.monotonic()
        self._rows_before = 0

    def run(self) -> None:
        """Finish the job, or leave it to others.

        Failures of ClickHouse and of the store are waited for, as long as the job gets further within
        `give_up_seconds`. A job that cannot be done is marked as failed.

        Raises:
            Stopped: the job was cancelled (and everything of it deleted), deleted or taken over, or the
                worker is to stop.
        """
        try:
            self._persist()
        except Stopped as stopped:
            if str(stopped) == "cancelled":
                self._discard()
                self._jobs.end(self._job, "cancelled")
            raise
        except TerminalError as error:
            self._fail(error)

    def _persist(self) -> None:
        pause, longest = _WAIT_SECONDS
        parts, since = -1, time.monotonic()
        while True:
            try:
                return self._attempt()
            except (TransientError, NotFound) as error:
                if len(self._parts) > parts:
                    parts, since, pause = len(self._parts), time.monotonic(), _WAIT_SECONDS[0]
                if time.monotonic() - since > self._jobs.settings.give_up_seconds:
                    return self._fail(error)
                self._log.warning("waiting", error=str(error), retry_in_seconds=pause)
                self._waiting = for_owner(error)
                self._tell(0, 0)
                self._lease.wait(pause)
                pause = min(2 * pause, longest)

    def _attempt(self) -> None:
        """Do everything that is left to do."""
        self._lease.check()
        self._tell(0, 0)
        if self._store.find(self._place / MANIFEST) is None:
            self._await_ledger()
            self._expected = self._expected_events()
            self._parts = self._recorded_parts()
            self._waiting, self._began, self._rows_before = "", time.monotonic(), self._rows()
            if self._rows() < self._expected or not self._parts:
                self._write_parts()
            self._check_files()
            self._lease.check()
            self._store.create(self._place / MANIFEST, manifest_json(self._job, self._parts))
        found = self._store.read(self._place / MANIFEST)
        self._jobs.end(
            self._job, "finished", rows=found["rows"], bytes=found["bytes"], parts=len(found["parts"])
        )

    def _await_ledger(self) -> None:
        while not self._events.has_reached(self._job.snapshot):
            self._waiting = "ClickHouse has not got all of the snapshot yet"
            self._tell(0, 0)
            self._lease.wait(self._jobs.settings.poll_seconds)

    def _expected_events(self) -> int:
        """Return how many events there are, counted once by whoever came first."""
        path = self._place / "plan.json"
        plan = self._store.find(path)
        if plan is None:
            extent = self._events.extent(self._job.account_id, self._job.filter, self._job.snapshot)
            self._store.create(path, {"rows": extent.events, "actions": dict(extent.actions)})
            plan = self._store.read(path)
        return int(plan["rows"])

    def _recorded_parts(self) -> list[Part]:
        """Return the parts that are finished, up to the first one that is not."""
        numbers = {
            int(each.path.rpartition("/")[2].removesuffix(".json"))
            for each in self._store.objects(f"{self._place.folder}/records")
        }
        number = 1
        while number in numbers:
            number += 1
        with ThreadPoolExecutor(RECORD_READERS) as pool:
            records = pool.map(self._store.read, map(self._place.record, range(1, number)))
            return [Part.from_json(record) for record in records]

    def _write_parts(self) -> None:
        job = self._job
        limits = Limits(job.part_rows_max, job.part_bytes_max)
        sizes = row_sizes if job.shape.format == "parquet" else line_sizes
        stream = self._events.batches(
            job.account_id,
            job.filter,
            job.snapshot,
            columns.selected(job.shape),
            after=self._parts[-1].last if self._parts else None,
            block_rows_max=self._jobs.settings.block_rows_max,
            settings=columns.SETTINGS,
        )
        with stream as batches, reading_ahead(batches) as read:
            cutter = Cutter(read, sizes)
            while True:
                self._write_part(cutter, limits)
                if not cutter.has_more():
                    break

    def _write_part(self, cutter: Cutter, limits: Limits) -> None:
        making = PartInMaking(len(self._parts) + 1, self._job.shape)
        path = self._place / self._job.shape.file_name(making.number)
        self._store.stream(path, self._watched(making, cutter, limits))
        part = making.part()
        if not self._store.create(self._place.record(part.number), part.to_json()):
            # A worker that was thought dead was faster, and wrote the same.
            part = Part.from_json(self._store.read(self._place.record(part.number)))
        self._parts.append(part)
        self._tell(0, 0)

    def _watched(self, making: PartInMaking, cutter: Cutter, limits: Limits) -> Iterator[bytes]:
        """Yield a part's bytes; an error in here leaves no part."""

        def checked() -> Iterator[pa.RecordBatch]:
            for batch in cutter.piece(limits):
                self._lease.check()
                yield batch
                self._tell_now_and_then(making)
            self._check_rows(making.rows, whole=not cutter.has_more())

        yield from making.chunks(checked())
        self._lease.check()

    def _check_rows(self, rows: int, *, whole: bool) -> None:
        assert self._expected is not None
        done = self._rows() + rows
        if done > self._expected or (whole and done < self._expected):
            raise NotAsCounted(
                f"ClickHouse sent {done:,} events of {self._expected:,}: the result is not whole, "
                "or rows of the snapshot were added or removed since they were counted"
            )

    def _check_files(self) -> None:
        """Make sure that every part is there as it was recorded; redo from the first one that is not."""
        self._store.sweep(self._place.folder)
        sizes = {each.path.rpartition("/")[2]: each.size for each in self._store.objects(self._place.folder)}
        for index, part in enumerate(self._parts):
            if sizes.get(part.file) != part.bytes:
                self._store.delete(*(self._place.record(each.number) for each in self._parts[index:]))
                raise NotAsCounted(f"{part.file} is not there as it was written; writing it again")

    def _discard(self) -> None:
        """Delete the parts, so that nothing is left that looks finished."""
        for stored in list(self._store.objects(self._place.folder)):
            name = stored.path.rpartition("/")[2]
            if name.startswith("part-") or "/records/" in stored.path:
                self._store.delete(stored.path)

    def _fail(self, error: AuditError) -> None:
        self._log.error("failed", error=str(error))
        self._discard()
        self._jobs.end(self._job, "failed", error=for_owner(error))

    def _rows(self) -> int:
        return sum(part.rows for part in self._parts)

    def _tell_now_and_then(self, making: PartInMaking) -> None:
        if time.monotonic() - self._told > PROGRESS_SECONDS:
            self._tell(making.rows, making.size)

    def _tell(self, more_rows: int, more_bytes: int) -> None:
        """Write down how far the job is; whether that works does not matter."""
        self._told = time.monotonic()
        rows = self._rows() + more_rows
        seconds = max(self._told - self._began, 1e-3)
        progress = Progress(
            rows_done=rows,
            rows_expected=self._expected,
            bytes_done=sum(part.bytes for part in self._parts) + more_bytes,
            parts_done=len(self._parts),
            rows_per_second=round((rows - self._rows_before) / seconds, 1),
            updated_at=rfc3339(datetime.now(UTC)),
            worker=self._worker,
            waiting=self._waiting,
        )
        with suppress(StoreUnavailable):
            self._store.overwrite(self._place / "progress.json", progress.to_json())

"""A log and an object store of a test's own, with jobs and workers on them."""

from __future__ import annotations

import gzip
import io
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa

from auditlog_exports.job import Job, Shape
from auditlog_exports.jobs import Jobs, Status
from auditlog_exports.object_store import ObjectStore
from auditlog_exports.settings import ExportSettings
from auditlog_exports.worker import Worker
from auditlog_schemas.event import AuditEvent
from auditlog_storage.filters import EventFilter
from auditlog_storage.ledger import Ledger, Range
from storage.event_log import Log

HOSTILE = (
    '=HYPERLINK("http://evil","x")',
    "+1\r\n-2",
    "@cmd\ttab",
    "\tstarts with a tab",
    "-1",
    "\n=1",
    "＝1",
    " \u00a0＠1",
    "\ufeff=1",
    "'=1",
    'quotes " and "" and ,commas,',
    '"related":[]',
    ',"related":[],"context":{},',
    "\\backslash\\ and /slash/",
    "line\nbreak\r\nand\x0b\x1f\x7fcontrols",
    "zero\u200bwidth \u202ebidi \u2028separators\u2029",
    "<script>alert(1)</script>",
    "\U0001f512 ünïcödé",
    "null",
    "x" * 3_000,
)


class Lab:
    """A database with events of `account`, their ledger, and a store.

    Args:
        log: the database.
        directory: of the store, unless `url` is given.
        settings: of exports, instead of small and quick ones.
    """

    def __init__(self, log: Log, directory: Path, **settings: Any) -> None:
        self.log = log
        self.account = f"acc_{uuid4().hex[:8]}"
        self.directory = directory
        given = {"lease_seconds": 1.0, "poll_seconds": 0.05, "part_rows_max": 100, "block_rows_max": 64}
        self.settings = ExportSettings.load(**{"url": directory.as_uri(), **given, **settings})
        self.store = ObjectStore(self.settings.url)
        self.jobs = Jobs(self.settings, self.store, log.connection)
        self._next = 0
        self._topic = uuid4()

    def events(self, count: int, **fields: Any) -> list[AuditEvent]:
        """Events a second apart, every third without what may be absent; some with hostile values."""
        return [self._event(number, fields) for number in range(count)]

    def add(self, events: Sequence[AuditEvent], *, recorded: bool = True, again: bool = False) -> None:
        """Store events, and record them in the ledger."""
        first = self._next
        self.log.topic_id = self._topic
        for _ in range(2 if again else 1):
            self.log.writer.insert(self.log.batch(events, first_offset=first), token=uuid4().hex)
        self._next += len(events)
        if recorded:
            self.record(first, self._next - 1)

    def multiply(self, times: int) -> None:
        """Store all events again, `times` - 1 times, later and with other ids, and record them."""
        count = self._next
        self.log.connection.command(
            """
            INSERT INTO audit_events SELECT * EXCEPT (n) REPLACE (
                generateUUIDv4() AS event_id, occurred_at + 10000 * n AS occurred_at,
                kafka_offset + {count:Int64} * n AS kafka_offset
            )
            FROM (SELECT * FROM audit_events WHERE topic_id = {topic:UUID}) AS events
            CROSS JOIN (SELECT number + 1 AS n FROM numbers({times:UInt64})) AS copies
            """,
            {"count": count, "topic": self._topic, "times": times - 1},
        )
        self._next = count * times
        self.record(count, self._next - 1)

    def record(self, first: int, last: int) -> None:
        Ledger(self.log.connection).append(
            Range(
                topic="audit.events",
                topic_id=self._topic,
                kafka_partition=0,
                first_offset=first,
                last_offset=last,
                accepted=last - first + 1,
                rejected=0,
                duplicates=0,
                absent=0,
                consumer_group="tests",
                recorded_at=datetime.now(UTC),
            )
        )

    def create(self, format: str = "jsonl", compression: str = "none", **more: Any) -> Job:
        raw, filter = more.pop("raw_csv", False), more.pop("filter", EventFilter())
        shape = Shape(format, compression, raw)  # type: ignore[arg-type]
        return self.jobs.create(self.account, filter, shape, "tests", **more)[0]

    def worker(self, **changed: Any) -> Worker:
        return Worker(self.settings.model_copy(update=changed), self.log.connection)

    def status(self, job: Job) -> Status:
        return self.jobs.status(job.account_id, job.job_id)

    def finish(self, job: Job, worker: Worker | None = None) -> Status:
        """Work until the job has ended."""
        worker = worker or self.worker()
        deadline = time.monotonic() + 60
        while self.status(job).ending is None:
            worker.work_once()
            assert time.monotonic() < deadline, f"not done: {self.status(job)}"
            time.sleep(0.01)
        return self.status(job)

    def exported(self, **job: Any) -> Path:
        """Make a job, finish it, and return its folder."""
        made = self.create(**job)
        status = self.finish(made)
        assert status.state == "finished", status
        return self.folder(made)

    def folder(self, job: Job) -> Path:
        return self.directory / "exports" / job.account_id / job.job_id

    def _event(self, number: int, fields: dict[str, Any]) -> AuditEvent:
        hostile = HOSTILE[number % len(HOSTILE)]
        full = number % 3 != 0
        given: dict[str, Any] = {
            "account_id": self.account,
            "event_id": str(UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << 128))),
            "occurred_at": 1_772_366_400_000_000 + number // 2 * 1_000_000 + (0, 120_000, 7)[number % 3],
            "action": ("license_updated", "order_created")[number % 2],
            "entity": {"type": "license", "id": hostile[:100], "name": hostile if full else None},
            "related": [{"type": "customer", "id": "cus_1", "name": None}] if full else [],
            "context": {
                "ip": "10.0.0.1" if full else None,
                "user_agent": hostile if full else None,
                "request_id": None,
            },
            "changes": [{"field": "note", "before": None, "after": json.dumps(hostile)}] if full else [],
            "metadata": {"related": "[]", "note": hostile[:400]} if full else {},
        }
        return self.log.event(**{**given, **fields})


def content(path: Path) -> bytes:
    """A file's bytes, decompressed."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return bytes(pa.input_stream(io.BytesIO(data), compression="zstd").read()) if data else b""
    return data


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*"))


def run_in_thread(worker: Worker) -> threading.Thread:
    thread = threading.Thread(target=worker.run)
    thread.start()
    return thread


__all__ = ["HOSTILE", "Lab", "content", "parts", "replace", "run_in_thread"]

"""How fast is an export, beside ClickHouse's own writer and a plain loop over rows, and with how much memory?

Every format is exported by a worker process with parts, hashes and manifest on. In the same run ClickHouse
writes the same rows with its own writer of that format, over HTTP into a file, and clickhouse-connect's rows
go through the csv module, one by one. In the end inserts run alone and beside an export.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode, urlsplit
from uuid import UUID, uuid4

from harness import Bench
from process_cost import group_cost
from servers import Servers

from auditlog_exports.job import Compression, Format, Shape
from auditlog_exports.jobs import Jobs
from auditlog_exports.object_store import ObjectStore
from auditlog_exports.settings import ExportSettings
from auditlog_storage.connection import Connection
from auditlog_storage.filters import EventFilter
from auditlog_storage.ledger import Ledger, Range
from auditlog_storage.tables import INSERT_SETTINGS

ACCOUNT: Final = "acc_bench"
FULL_EVENTS, QUICK_EVENTS = 10_000_000, 100_000
INSERT_ROWS: Final = 500_000
ROW_LOOP_EVENTS_MAX: Final = 200_000
OWN_WRITER_SHARE_MIN: Final = 0.6
ROW_LOOP_TIMES_MIN: Final = 8.0
RSS_BYTES_MAX: Final = 400_000_000
RSS_GROWTH_MAX: Final = 1.15
INGEST_SLOWDOWN_MAX: Final = 0.20
POLL_SECONDS: Final = 0.1
SHAPES: Final[tuple[tuple[Format, Compression, str], ...]] = (
    ("csv", "none", "CSVWithNames"),
    ("jsonl", "none", "JSONEachRow"),
    ("parquet", "none", "Parquet"),
)

_ROWS: Final = """
    INSERT INTO audit_events (
        account_bucket, account_id, occurred_at, event_id, action, action_version, entity_type, entity_id,
        entity_name, related, source_service, source_instance_id, source_sequence, actor_type, actor_id,
        actor_name, actor_email, ip, user_agent, request_id, changes, metadata,
        topic_id, kafka_partition, kafka_offset, received_at
    )
    SELECT
        kafkaMurmurHash({account:String}) % 8, {account:String},
        toDateTime64('2026-01-01 00:00:00', 6, 'UTC') + number / 1000, reinterpretAsUUID(sipHash128(number)),
        ['license_updated', 'order_created', 'license_reset', 'customer_updated'][number % 4 + 1], 1,
        ['license', 'order', 'license', 'customer'][number % 4 + 1], 'id_' || toString(number % 10000),
        'Pro seat ' || toString(number % 100),
        if(number % 3 = 0, [('customer', 'cus_' || toString(number % 1000), NULL)], []),
        'licensing', 'licensing-' || toString(number % 4), number, 'platform_user',
        'usr_' || toString(number % 500), 'Ada Lovelace', 'ada@example.com',
        '10.0.' || toString(number % 256) || '.7', 'Mozilla/5.0 (X11; Linux x86_64)', hex(sipHash64(number)),
        if(number % 2 = 0, [('seats', toString(number % 50), toString(number % 50 + 1))], []),
        map('source', 'web', 'region', 'eu-' || toString(number % 3)),
        {topic_id:UUID}, {partition:Int32}, number,
        toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + number / 1000
    FROM numbers({first:UInt64}, {count:UInt64})
"""

_OWN: Final = """
    SELECT * FROM audit_events
    WHERE account_bucket = kafkaMurmurHash({account:String}) % 8 AND account_id = {account:String}
      AND kafka_partition = 0 AND kafka_offset < {events:Int64}
    ORDER BY occurred_at, event_id
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """One export by a worker process."""

    seconds: float
    bytes: int
    rss_bytes: int
    cpu_seconds: float


class Stage:
    """The rows, and a store."""

    def __init__(self, servers: Servers, events: int) -> None:
        self.connection = servers.new_database()
        self.url = self.connection.settings.url.get_secret_value()
        self.directory = servers.directory / "exports"
        self.topic_id = uuid4()
        settings = ExportSettings.load(url=self.directory.as_uri(), poll_seconds=0.1)
        self.jobs = Jobs(settings, ObjectStore(settings.url), self.connection)
        for first in range(0, events, INSERT_ROWS):
            insert(self.connection, self.topic_id, 0, first, min(INSERT_ROWS, events - first))
        # Merges of what was just inserted would run beside whatever is measured first.
        merging = "SELECT count() FROM system.merges WHERE database = currentDatabase()"
        while self.connection.query_rows(merging) != [(0,)]:
            time.sleep(1)

    def export(self, events: int, shape: Shape) -> Exported:
        """Export the first so many events with a worker process that is started and ended for it."""
        record(self.connection, self.topic_id, events)
        job, _ = self.jobs.create(ACCOUNT, EventFilter(), shape, "bench")
        worker = subprocess.Popen(
            (sys.executable, "-m", "auditlog_cli", "export-worker", "--log-json"),
            env={
                **os.environ, "AUDITLOG_CLICKHOUSE_URL": self.url,
                "AUDITLOG_EXPORT_URL": self.jobs.settings.url, "AUDITLOG_EXPORT_POLL_SECONDS": "0.1",
            },
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            while self.jobs.status(ACCOUNT, job.job_id).state == "queued":
                time.sleep(POLL_SECONDS / 4)
            began, rss = time.monotonic(), 0
            while (status := self.jobs.status(ACCOUNT, job.job_id)).ending is None:
                rss = max(rss, group_cost(worker.pid).peak_rss_bytes)
                time.sleep(POLL_SECONDS)
            seconds = time.monotonic() - began
            cost = group_cost(worker.pid)
        finally:
            worker.terminate()
            worker.wait(30)
        assert status.ending is not None
        if (status.state, status.ending.rows) != ("finished", events):
            raise SystemExit(f"the export did not work: {status}")
        self.jobs.delete(ACCOUNT, job.job_id)
        return Exported(seconds, status.ending.bytes, max(rss, cost.peak_rss_bytes), cost.cpu_seconds)

    def own_writer(self, events: int, format: str) -> tuple[float, int]:
        """Let ClickHouse write the same rows; return seconds and bytes."""
        parts = urlsplit(self.url)
        query = urlencode({
            "database": parts.path.strip("/"), "query": f"{_OWN} FORMAT {format}",
            "param_account": ACCOUNT, "param_events": events,
        })  # fmt: skip
        request = urllib.request.Request(
            f"http://{parts.hostname}:{parts.port}/?{query}", headers={"X-ClickHouse-User": "default"}
        )
        path = self.directory.parent / f"own.{format}"
        began = time.monotonic()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file, 1024 * 1024)
        seconds, size = time.monotonic() - began, path.stat().st_size
        path.unlink()
        return seconds, size

    def row_loop(self, events: int) -> float:
        """Do it the obvious way, with a cursor by pages; return seconds."""
        path = self.directory.parent / "rows.csv"
        began = time.monotonic()
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            for row in self._rows(events):
                writer.writerow(row)
        seconds = time.monotonic() - began
        path.unlink()
        return seconds

    def _rows(self, events: int) -> Iterator[tuple[object, ...]]:
        yield from self.connection.query_rows(_OWN, {"account": ACCOUNT, "events": events})


def insert(connection: Connection, topic_id: UUID, partition: int, first: int, count: int) -> None:
    where = {"account": ACCOUNT, "topic_id": topic_id, "partition": partition, "first": first, "count": count}
    connection.command(_ROWS, where, INSERT_SETTINGS)


def record(connection: Connection, topic_id: UUID, events: int) -> None:
    """Make the ledger end behind so many events."""
    connection.command(
        f"ALTER TABLE audit_ranges DELETE WHERE topic_id = '{topic_id}'", {}, {"mutations_sync": 2}
    )
    Ledger(connection).append(
        Range("audit.events", topic_id, 0, 0, events - 1, events, 0, 0, 0, "bench", datetime.now(UTC))
    )


def inserts_a_second(stage: Stage, seconds: float) -> float:
    """Insert as a consumer does, for some seconds; return rows a second."""
    topic_id, rows, began = uuid4(), 0, time.monotonic()
    while time.monotonic() - began < seconds:
        insert(stage.connection, topic_id, 1, rows, 50_000)
        rows += 50_000
    return rows / (time.monotonic() - began)


def compare(bench: Bench, stage: Stage, events: int) -> None:
    bench.row("format", "rows/s", "MB/s", "own writer rows/s", "share", "row loop rows/s", "times", "RSS MB")
    loop_events = min(events, ROW_LOOP_EVENTS_MAX)
    loop = loop_events / stage.row_loop(loop_events)
    for format, compression, own_format in SHAPES:
        own_seconds, _ = stage.own_writer(events, own_format)
        found = stage.export(events, Shape(format, compression))
        speed, own = events / found.seconds, events / own_seconds
        small = stage.export(max(1, events // 10), Shape(format, compression))
        bench.row(
            format, f"{speed:,.0f}", f"{found.bytes / found.seconds / 1e6:.1f}", f"{own:,.0f}",
            f"{speed / own:.2f}", f"{loop:,.0f}", f"{speed / loop:.1f}", f"{found.rss_bytes / 1e6:.0f}",
        )  # fmt: skip
        for name, value in (
            ("rows_per_second", speed), ("own_rows_per_second", own), ("bytes", found.bytes),
            ("worker_cpu_seconds", found.cpu_seconds), ("rss_bytes", found.rss_bytes),
            ("rss_bytes_of_a_tenth", small.rss_bytes),
        ):  # fmt: skip
            bench.figure(f"{format}_{name}", value)
        bench.bar(f"{format}: share of ClickHouse's own writer", speed / own, at_least=OWN_WRITER_SHARE_MIN)
        bench.bar(f"{format}: times the row loop", speed / loop, at_least=ROW_LOOP_TIMES_MIN)
        bench.bar(f"{format}: RSS of the worker, bytes", found.rss_bytes, at_most=RSS_BYTES_MAX)
        growth = found.rss_bytes / small.rss_bytes
        bench.bar(f"{format}: RSS beside that of a tenth", growth, at_most=RSS_GROWTH_MAX)
    bench.figure("row_loop_rows_per_second", loop)


def ingest_beside(bench: Bench, stage: Stage, events: int, seconds: float) -> None:
    alone = inserts_a_second(stage, seconds)
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            stage.export(events, Shape("csv", "zstd"))

    thread = threading.Thread(target=go_on)
    thread.start()
    time.sleep(1)
    beside = inserts_a_second(stage, seconds)
    ended.set()
    thread.join()
    bench.figure("inserts_alone_rows_per_second", alone)
    bench.figure("inserts_beside_rows_per_second", beside)
    bench.bar("slowdown of inserts beside an export", 1 - beside / alone, at_most=INGEST_SLOWDOWN_MAX)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=0, help="instead of 10,000,000")


def main() -> None:
    bench = Bench(__doc__ or "", options)
    events = bench.options.events or (QUICK_EVENTS if bench.quick else FULL_EVENTS)
    with Servers() as servers:
        stage = Stage(servers, events)
        bench.figure("events", events)
        compare(bench, stage, events)
        ingest_beside(bench, stage, events, 3.0 if bench.quick else 30.0)
        stage.connection.close()
    bench.finish()


if __name__ == "__main__":
    main()

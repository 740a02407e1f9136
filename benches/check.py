"""How long does `auditlog check` take over a large log, and how much memory?

Loads rows inside the engine, with a ledger and dead letters to match (one message in 500 was rejected), runs
the command as a process of its own, and reads its peak of resident memory. The rows are narrow: the check
reads no column that would be wider in a real log. Kafka has an empty topic: the ledger is of an earlier one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from harness import Bench
from process_cost import group_cost
from servers import Servers

from auditlog_consumer.acknowledged import AcknowledgedWriter, Headers, Outgoing
from auditlog_storage.connection import Connection

PARTITIONS: Final = 8
RANGE_OFFSETS: Final = 50_000
REJECTED_EVERY: Final = 500
ROWS_PER_INSERT: Final = 1_000_000
FULL_OFFSETS, QUICK_OFFSETS = 50_000_000, 2_000_000
SECONDS_MAX: Final = 300.0
RSS_BYTES_MAX: Final = 500_000_000
POLL_SECONDS: Final = 0.1

# Of every 500 offsets of a partition the last one was rejected.
_ROWS: Final = """
    INSERT INTO audit_events (
        account_bucket, account_id, occurred_at, event_id, action, action_version, entity_type, entity_id,
        related, source_service, source_instance_id, source_sequence, actor_type, actor_id,
        topic_id, kafka_partition, kafka_offset, received_at
    )
    SELECT
        kafkaMurmurHash(account_id) % 8, 'acc_' || toString(number % 1000) AS account_id,
        toDateTime64('2026-01-01 00:00:00', 6, 'UTC') + number / 1000,
        reinterpretAsUUID(sipHash128(number)), 'license_updated', 1,
        ['license', 'order'][number % 2 + 1], 'lic_' || toString(number % 10000), [],
        'bench', 'instance_' || toString(number % 100), intDiv(number, 100) + 1, 'system', 'bench',
        {topic_id:UUID}, number % 8,
        intDiv(number, 8) + intDiv(intDiv(number, 8), 499),
        toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + number / 1000
    FROM numbers({first:UInt64}, {count:UInt64})
"""

_LEDGER: Final = """
    INSERT INTO audit_ranges
    SELECT {topic:String}, {topic_id:UUID}, number % 8, intDiv(number, 8) * {size:Int64},
           intDiv(number, 8) * {size:Int64} + {size:Int64} - 1, {size:Int64} - intDiv({size:Int64}, 500),
           intDiv({size:Int64}, 500), 0, 0, 'committed', 'bench', now64(3)
    FROM numbers({count:UInt64})
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """One run of the command."""

    seconds: float
    peak_rss_bytes: int
    result: dict[str, Any]


def load(servers: Servers, connection: Connection, topic: str, offsets: int) -> None:
    """Fill the tables and the dead-letter topic for so many offsets."""
    topic_id = uuid4()
    rows = offsets - offsets // REJECTED_EVERY
    for first in range(0, rows, ROWS_PER_INSERT):
        where = {"topic_id": topic_id, "first": first, "count": min(ROWS_PER_INSERT, rows - first)}
        connection.command(_ROWS, where, {"max_partitions_per_insert_block": 512})
    ranges = {"topic": topic, "topic_id": topic_id, "size": RANGE_OFFSETS, "count": offsets // RANGE_OFFSETS}
    connection.command(_LEDGER, ranges)
    writer = AcknowledgedWriter(servers.bootstrap)
    for number in range(PARTITIONS):
        rejected = range(REJECTED_EVERY - 1, offsets // PARTITIONS, REJECTED_EVERY)
        letters = []
        for offset in rejected:
            source: Headers = [
                ("source_topic_id", str(topic_id).encode()),
                ("source_partition", str(number).encode()),
                ("source_offset", str(offset).encode()),
            ]
            letters.append(Outgoing(f"{topic_id}/{number}/{offset}".encode(), b"garbage", source))
        writer.write(f"{topic}.dead", letters)
    writer.close()


def run_check(servers: Servers, connection: Connection, topic: str) -> Checked:
    """Run the command and wait for it."""
    environment = os.environ | {
        "AUDITLOG_KAFKA": servers.bootstrap,
        "AUDITLOG_CLICKHOUSE_URL": connection.settings.url.get_secret_value(),
        "AUDITLOG_TOPIC": topic,
    }
    began, peak_rss_bytes = time.perf_counter(), 0
    command = [sys.executable, "-m", "auditlog_cli", "check", "--json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while process.poll() is None:
            peak_rss_bytes = max(peak_rss_bytes, group_cost(process.pid).peak_rss_bytes)
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - began
        assert process.stdout is not None
        lines = [json.loads(line) for line in process.stdout]
    if process.returncode:
        raise RuntimeError(f"the check found what is not there: {lines[:3]}")
    return Checked(seconds, peak_rss_bytes, lines[-1])


def main() -> None:
    bench = Bench(__doc__ or "")
    offsets = QUICK_OFFSETS if bench.quick else FULL_OFFSETS
    with Servers() as servers:
        topic, _ = servers.new_topic(PARTITIONS)
        connection = servers.new_database()
        began = time.perf_counter()
        load(servers, connection, topic, offsets)
        print(f"loaded {offsets:,} offsets in {time.perf_counter() - began:.0f} s", flush=True)
        done = run_check(servers, connection, topic)
        stored, rejected = done.result["accepted"], done.result["rejected"]
        if stored + rejected != offsets:
            raise RuntimeError(f"the check saw {stored} + {rejected} of {offsets} offsets")
    bench.row("", "offsets", "rows", "letters", "seconds", "rows/s", "peak RSS MB")
    rate, rss = stored / done.seconds, done.peak_rss_bytes / 1e6
    bench.row(
        "check",
        f"{offsets:,}",
        f"{stored:,}",
        f"{rejected:,}",
        f"{done.seconds:.1f}",
        f"{rate:,.0f}",
        f"{rss:.0f}",
    )
    for name, value in {
        "rows": stored,
        "seconds": done.seconds,
        "rows_per_second": rate,
        "peak_rss_mb": rss,
    }.items():
        bench.figure(name, value)
    bench.bar(
        "seconds", done.seconds, at_most=SECONDS_MAX * offsets / FULL_OFFSETS + (15 if bench.quick else 0)
    )
    bench.bar("peak RSS of the checking process, MB", rss, at_most=RSS_BYTES_MAX / 1e6)
    bench.finish()


if __name__ == "__main__":
    main()

"""How long a partition takes to start in a table of 20,000,000 rows whose parts have merged.

The rows and a ledger that matches them are made inside the engine. What is timed is the product's own
`Recovery.start`: the ledger's last range, rows beyond it, and the window of 1,000,000 event ids, once for
each partition, with the engine's mark cache emptied before. Kafka's part in it (the topic's id, the log's
ends, the announced intent: three requests of some milliseconds) is played by `KnownLog`: 20,000,000 messages
would only be there to be counted.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from statistics import median
from typing import Final
from uuid import UUID, uuid4

from harness import Bench
from servers import Servers

from auditlog_consumer.identity import TopicIdentity
from auditlog_consumer.partition import Epoch, Partition
from auditlog_consumer.recovery import Recovery
from auditlog_consumer.runtime import Threads
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.start import Start
from auditlog_storage.claims import Claims
from auditlog_storage.connection import Connection
from auditlog_storage.ledger import Ledger
from auditlog_storage.settings import StorageSettings
from auditlog_storage.stored import StoredRows
from auditlog_storage.tables import ACCOUNT_BUCKETS
from auditlog_storage.writer import EventWriter

ROWS: Final = 20_000_000
QUICK_ROWS: Final = 2_000_000
RANGE_OFFSETS: Final = 2_000
ACCOUNTS_MAX: Final = 4_000
SECONDS_MAX: Final = 3.0
_LOADING_SECONDS_MAX: Final = 3_600
TOPIC: Final = "audit.events"
TOPIC_ID: Final = uuid4()

# As many partitions as buckets, and each partition's accounts in its own bucket, as Kafka would have it.
_ROWS: Final = """
    INSERT INTO audit_events (
        account_bucket, account_id, occurred_at, event_id, action, action_version, entity_type, entity_id,
        related, source_service, source_instance_id, source_sequence, actor_type, actor_id, actor_name,
        actor_email, ip, metadata, topic_id, kafka_partition, kafka_offset, received_at
    )
    WITH
        (
            SELECT groupArray(name) FROM (
                SELECT concat('acc_', toString(number)) AS name FROM numbers({accounts:UInt32})
                WHERE kafkaMurmurHash(name) % {buckets:UInt8} = {partition:Int32}
            )
        ) AS accounts,
        ['license', 'order', 'customer', 'product', 'device', 'platform_user', 'user_permission_template',
         'notification_policy'] AS types,
        toDateTime64('2026-01-01 00:00:00', 6, 'UTC') + toIntervalMillisecond(10 * number) AS at,
        types[1 + intHash32(number) % 8] AS type
    SELECT
        {partition:Int32}, accounts[1 + intHash64(number) % length(accounts)], at, generateUUIDv7(number),
        concat(type, '_updated'), 1, type, concat(type, '_', toString(intHash32(number + 7) % 20000)),
        CAST([], 'Array(Tuple(type LowCardinality(String), id String, name Nullable(String)))'),
        'licensing', concat('pod-', toString(number % 16)), number, 'platform_user',
        concat('usr_', toString(number % 50)), concat('User ', toString(number % 50)),
        concat('user', toString(number % 50), '@example.com'), IPv4NumToString(intHash32(number)),
        map('source', 'web'), {topic_id:UUID}, {partition:Int32}, number, at
    FROM numbers({rows:UInt64})
"""

_RANGES: Final = """
    INSERT INTO audit_ranges
    SELECT {topic:String}, {topic_id:UUID}, {partition:Int32}, number * {size:Int64} AS first,
        least(first + {size:Int64}, {rows:Int64}) - 1 AS last, last - first + 1, 0, 0, 0, 'committed',
        {group:String}, toDateTime64('2026-01-01 00:00:00', 3, 'UTC')
    FROM numbers(toUInt64(ceil({rows:Int64} / {size:Int64})))
"""


@dataclass(frozen=True)
class KnownLog:
    """A topic that ends where the ledger does, and a group that announced nothing beyond."""

    rows: int

    def identify(self, topic: str) -> UUID | None:  # noqa: ARG002
        return TOPIC_ID

    def ends(self, topic: str, partition: int) -> tuple[int, int]:  # noqa: ARG002
        return 0, self.rows

    def announced(self, partition: int) -> tuple[int, str] | None:  # noqa: ARG002
        return self.rows, ""

    def announce(self, *_: object) -> None:
        raise AssertionError("nothing is lost here")

    def leader_epoch(self, *_: object) -> int:
        return -1

    def commit(self, *_: object) -> None:
        raise AssertionError("nothing is recorded here")


def load(connection: Connection, partitions: int, rows: int, group: str) -> None:
    """Store so many rows in each partition, and the ledger of them, and merge them."""
    for partition in range(partitions):
        values = {
            "accounts": ACCOUNTS_MAX,
            "buckets": ACCOUNT_BUCKETS,
            "partition": partition,
            "topic_id": TOPIC_ID,
            "rows": rows,
            "topic": TOPIC,
            "size": RANGE_OFFSETS,
            "group": group,
        }
        for statement in (_ROWS, _RANGES):
            connection.command(statement, values)
    connection.command("OPTIMIZE TABLE audit_events FINAL")
    connection.command("OPTIMIZE TABLE audit_ranges FINAL")


def start_of(recovery: Recovery, number: int) -> Start:
    return recovery.start(Partition(TOPIC, TOPIC_ID, number), Epoch(Threads().flag()))


def measure(servers: Servers, partitions: int, rows: int) -> tuple[list[float], list[tuple[int, ...]]]:
    """Return each partition's seconds, and rows and parts of the table."""
    url = servers.new_database().settings.url.get_secret_value()
    settings = ConsumerSettings.load(kafka=servers.bootstrap, topic=TOPIC)
    with Connection(StorageSettings.load(url=url, request_timeout_seconds=_LOADING_SECONDS_MAX)) as loading:
        load(loading, partitions, rows, settings.group)
        found = loading.query_rows(
            "SELECT sum(rows), count(), sum(bytes_on_disk) FROM system.parts "
            "WHERE active AND database = currentDatabase() AND table = 'audit_events'"
        )
    seconds = []
    with Connection(StorageSettings.load(url=url)) as connection:
        log, ledger, stored = KnownLog(rows), Ledger(connection), StoredRows(connection)
        writer, runtime = EventWriter(connection), Threads()
        identity = TopicIdentity(log, TOPIC, TOPIC_ID, runtime.monotonic)
        recovery = Recovery(settings, ledger, Claims(connection), stored, writer, log, identity, log, runtime)
        for number in range(partitions):
            connection.command("SYSTEM DROP MARK CACHE")
            begun = time.perf_counter()
            start = start_of(recovery, number)
            seconds.append(time.perf_counter() - begun)
            if start.offset != rows:
                raise RuntimeError(f"partition {number} starts at {start.offset}, not at {rows}")
    return seconds, found


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=None, help="of the table")


def main() -> None:
    bench = Bench(__doc__ or "", _options)
    rows = bench.options.rows or (QUICK_ROWS if bench.quick else ROWS)
    # A small table has fewer partitions, so that the window is filled as far as in a large one.
    partitions = min(ACCOUNT_BUCKETS, max(1, rows // ConsumerSettings.model_fields["window_offsets"].default))
    with Servers() as servers:
        begun = time.monotonic()
        seconds, [(stored, parts, size)] = measure(servers, partitions, rows // partitions)
        print(
            f"{stored:,} rows in {parts} parts, {size / 1e9:.1f} GB; all in {time.monotonic() - begun:.0f} s"
        )
    bench.row("start of a partition", "first", "median", "longest")
    bench.row("seconds", f"{seconds[0]:.2f}", f"{median(seconds):.2f}", f"{max(seconds):.2f}")
    bench.figure("rows", stored)
    bench.figure("parts", parts)
    bench.figure("first_seconds", seconds[0])
    bench.figure("median_seconds", median(seconds))
    bench.bar("longest start of a partition, seconds", max(seconds), at_most=SECONDS_MAX)
    bench.finish()


if __name__ == "__main__":
    main()

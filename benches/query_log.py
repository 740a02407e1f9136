"""A large log for benches of queries: made inside the engine, in the shape that a consumer leaves behind.

Accounts follow Zipf's law under one that has a tenth of all events. Each block holds the events of one Kafka
partition, and so of one account bucket, in the order of time, as batches do; times are spread over a year.
The ledger matches it but for counting messages that are not here as absent.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from auditlog_storage.connection import Connection
from auditlog_storage.tables import ACCOUNT_BUCKETS, AUDIT_EVENTS, INSERT_SETTINGS

LARGEST: Final = "acc_000000"
ACCOUNTS: Final = 20_000
LICENSES: Final = 200_000
SINCE: Final = datetime(2025, 11, 1, tzinfo=UTC)
YEAR: Final = timedelta(days=365)
ROWS_PER_INSERT: Final = 500_000
RANGE_OFFSETS: Final = 60_000
TOPIC: Final = "audit.events"

_COLUMNS: Final = ", ".join(column.name for column in AUDIT_EVENTS.columns if not column.materialized)

# `h` and `g` are two hashes of the event's number: everything else is drawn from their bits. Numbers by
# exp(u * log(n)) have the density 1/x: Zipf's law.
_ROWS: Final = """
    INSERT INTO {table} ({columns})
    WITH
        (
            SELECT groupArray((name, number)) FROM (
                SELECT concat('acc_', leftPad(toString(number), 6, '0')) AS name, number
                FROM numbers({{accounts:UInt32}})
                WHERE kafkaMurmurHash(name) % {{buckets:UInt8}} = {{partition:Int32}} ORDER BY number
            )
        ) AS accounts,
        (SELECT groupArray((action, entity_type)) FROM (
            SELECT action, entity_type FROM audit_actions WHERE action_group != 'Audit log' ORDER BY action
        )) AS actions,
        sipHash64(number, {{partition:Int32}}, 1) AS h,
        sipHash64(number, {{partition:Int32}}, 2) AS g,
        (h % 1000003) / 1000003 AS u,
        (bitShiftRight(h, 21) % 1000003) / 1000003 AS v,
        (g % 1000003) / 1000003 AS w,
        1 + toUInt32(exp(v * log(length(accounts)))) % length(accounts) AS rank,
        accounts[if(u < {{largest:Float64}}, 1, rank)].1 AS account,
        actions[1 + bitShiftRight(h, 40) % length(actions)] AS act,
        toUInt32(exp(w * log({{licenses:UInt32}}))) AS thing,
        concat(substring(act.2, 1, 3), '_', toString(thing)) AS id,
        toString(thing % 5000) AS customer,
        CAST(concat('Customer ', customer), 'Nullable(String)') AS name,
        concat('usr_', toString(bitShiftRight(g, 20) % 200)) AS actor,
        {{since:DateTime64(6, 'UTC')}} + toIntervalMicrosecond(
            toInt64({{year_micros:Float64}} * number / {{partition_rows:UInt64}}) + h % 60000000
        ) AS at
    SELECT
        {{partition:Int32}}, account, at,
        reinterpretAsUUID(concat(reinterpretAsFixedString(h), reinterpretAsFixedString(g))),
        act.1, 1, act.2, id, concat(act.2, ' ', toString(thing)),
        if(act.2 IN ('license', 'order', 'device'), [('customer', concat('cus_', customer), name)], []),
        'licensing', concat('pod-', toString(number % 16)), number,
        'platform_user', actor, concat('User ', actor), concat(actor, '@example.com'), NULL,
        IPv4NumToString(toUInt32(167772160 + bitShiftRight(g, 40) % 65536)),
        concat('Mozilla/5.0 (X11; Linux x86_64) Chrome/', toString(130 + g % 20), '.0 Safari/537.36'),
        lower(hex(g)),
        arrayMap(i -> (
            ['seats', 'expires_at', 'plan', 'note', 'contact'][1 + (h + i) % 5],
            toString(bitShiftRight(h, i) % 1000), toString(bitShiftRight(g, i) % 1000)
        ), range(h % 4)),
        map('source', ['web', 'api', 'import'][1 + h % 3], 'ticket', concat('T-', toString(g % 100000))),
        {{topic_id:UUID}}, {{partition:Int32}}, number, at + toIntervalMillisecond(200)
    FROM numbers({{first:UInt64}}, {{rows:UInt64}})
"""

_RANGES: Final = """
    INSERT INTO audit_ranges
    SELECT {topic:String}, {topic_id:UUID}, {partition:Int32}, number * {size:Int64} AS first,
        least(first + {size:Int64}, {end:Int64}) - 1 AS last, last - first + 1, 0, 0, 0, 'committed',
        'auditlog', now64(3)
    FROM numbers({start:UInt64}, {count:UInt64})
"""


@dataclass
class QueryLog:
    """A log that grows in steps, each a part of the same year.

    Args:
        connection: to a migrated database; its requests must be allowed to take minutes.
        rows: of the whole log.
        table: `audit_events`, or another table with its columns.
    """

    connection: Connection
    rows: int
    table: str = AUDIT_EVENTS.name

    def __post_init__(self) -> None:
        self.topic_id: UUID = uuid4()
        self.stored = 0

    def grow(self, rows: int) -> None:
        """Store the events up to so many, a multiple of 8, and record them."""
        done, until, whole = (count // ACCOUNT_BUCKETS for count in (self.stored, rows, self.rows))
        values = {
            "accounts": ACCOUNTS,
            "buckets": ACCOUNT_BUCKETS,
            "licenses": LICENSES,
            "since": SINCE,
            "year_micros": YEAR / timedelta(microseconds=1),
            "partition_rows": whole,
            "topic_id": self.topic_id,
        }
        largest = self._bucket_of_largest()
        sql = _ROWS.format(table=self.table, columns=_COLUMNS)
        for first in range(done, until, ROWS_PER_INSERT):
            for partition in range(ACCOUNT_BUCKETS):
                share = 0.1 * ACCOUNT_BUCKETS if partition == largest else 0.0
                part = {"partition": partition, "first": first, "rows": min(ROWS_PER_INSERT, until - first)}
                self.connection.command(sql, {**values, **part, "largest": share}, INSERT_SETTINGS)
        self._record(until)
        self.stored = rows

    def settle(self) -> None:
        """Merge each partition's parts into few, as time does, and have them on the disk."""
        self.connection.command(f"OPTIMIZE TABLE {self.table} FINAL")
        # Gigabytes would be written to the disk while the first questions are asked.
        os.sync()

    def parts(self) -> tuple[int, int]:
        """Return how many parts there are, and their bytes on disk."""
        [(count, size)] = self.connection.query_rows(
            "SELECT count(), sum(bytes_on_disk) FROM system.parts "
            "WHERE active AND database = currentDatabase() AND table = {table:String}",
            {"table": self.table},
        )
        return count, size

    def _bucket_of_largest(self) -> int:
        bucket = "SELECT toInt32(kafkaMurmurHash({account:String}) % {buckets:UInt8})"
        [(number,)] = self.connection.query_rows(bucket, {"account": LARGEST, "buckets": ACCOUNT_BUCKETS})
        return int(number)

    def _record(self, end: int) -> None:
        """Record whole ranges and, at the end of the log, the rest of one."""
        self.connection.command("TRUNCATE TABLE audit_ranges")
        for partition in range(ACCOUNT_BUCKETS):
            values = {"topic": TOPIC, "topic_id": self.topic_id, "partition": partition, "end": end}
            ranges = {"size": RANGE_OFFSETS, "start": 0, "count": -(-end // RANGE_OFFSETS)}
            self.connection.command(_RANGES, {**values, **ranges})

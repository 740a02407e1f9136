"""What would other layouts of audit_events cost and gain? Size, inserts and questions, side by side.

The same made-up events (`query_log.py`) are inserted into tables that differ in one thing each, by INSERT ...
SELECT from one staged copy, in batches of one Kafka partition with the consumer's settings; processor time is
the engine's while merges stand still, and then while all parts are merged at once. Then a few questions of
the largest account are asked through the storage reader, layout by layout. Figures of one run compare with
each other only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from harness import Bench
from process_cost import group_cost
from query_log import LARGEST, SINCE, YEAR, QueryLog
from query_subjects import CountingConnection, Question, find_samples, questions, time_storage
from servers import Servers

from auditlog_storage.filters import EventFilter
from auditlog_storage.search import parse_search
from auditlog_storage.settings import StorageSettings
from auditlog_storage.table import Table
from auditlog_storage.tables import ACCOUNT_BUCKETS, AUDIT_EVENTS, EVENT_WORDS, INSERT_SETTINGS

FULL_ROWS, QUICK_ROWS = 8_000_000, 400_000
CALLS, QUICK_CALLS = 15, 5
BATCH_ROWS: Final = 60_000
_INSERTED: Final = ", ".join(column.name for column in AUDIT_EVENTS.columns if not column.materialized)
_ASKED: Final = (
    *("first page", "page: action:license.* actor:usr_7", "item, busy", "item, rare"),
    *("histogram, a year", "facet action", "facet actor", "facet ip", "facet entity"),
)


def _typed(table: Table, **types: str) -> Table:
    columns = tuple(replace(each, type=types.get(each.name, each.type)) for each in table.columns)
    return replace(table, columns=columns)


def _without(table: Table, *names: str) -> Table:
    kept = tuple(extra for extra in table.extras if extra.split()[1] not in names)
    return replace(table, extras=kept)


def _with(table: Table, *extras: str) -> Table:
    return replace(table, extras=(*table.extras, *extras))


def _set(table: Table, **settings: int | str) -> Table:
    return replace(table, settings={**table.settings, **settings})


_ENTITY_KEYS: Final = "account_bucket, account_id, concat(entity_type, '/', entity_id)"

LAYOUTS: Final[Mapping[str, Callable[[Table], Table]]] = {
    "as it is": lambda table: table,
    "actors as dictionaries": lambda table: _typed(table, actor_id="LowCardinality(String)"),
    "addresses as dictionaries": lambda table: _typed(table, ip="LowCardinality(Nullable(String))"),
    "no counts by day": lambda table: _without(table, "counts_by_day"),
    "no counts by actor": lambda table: _without(table, "counts_by_actor"),
    "no counts by address": lambda table: _without(table, "counts_by_address"),
    "counts by entity": lambda table: _with(
        table, f"PROJECTION counts_by_entity (SELECT {_ENTITY_KEYS}, count() GROUP BY {_ENTITY_KEYS})"
    ),
    "no index of words": lambda table: _without(table, "by_word"),
    "bloom filter of words": lambda table: _with(
        _without(table, "by_word"), f"INDEX by_word {EVENT_WORDS} TYPE tokenbf_v1(8192, 3, 0) GRANULARITY 1"
    ),
    "no bloom filters of readers": lambda table: _without(table, "by_actor", "by_request"),
    "sizes of strings apart": lambda table: _set(table, string_serialization_version="with_size_stream"),
    "blocks of 16 KiB": lambda table: _set(table, min_compress_block_size=16_384),
    "compact parts": lambda table: _set(table, min_bytes_for_wide_part=1 << 40),
    "no statistics": lambda table: _set(table, auto_statistics_types=""),
    "granules of 8,192": lambda table: _set(table, index_granularity=8_192, min_compress_block_size=65_536),
    "no projection by offset": lambda table: _without(table, "by_offset"),
    "indexes at insert": lambda table: table,
}
_SETTINGS: Final[Mapping[str, Mapping[str, int]]] = {
    "indexes at insert": {"materialize_skip_indexes_on_insert": 1}
}


def asked(connection: CountingConnection) -> list[Question]:
    """Return the questions that layouts differ in."""
    words = EventFilter(search=parse_search('"customer 12"', SINCE + YEAR))
    count = Question("count of words", lambda log: log.histogram(LARGEST, words).total, None, 400)
    known = {question.name: question for question in questions(find_samples(connection))}
    return [*(known[name] for name in _ASKED), count]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=None, help="of the log; a tenth is the account's")
    parser.add_argument("--layouts", nargs="*", choices=list(LAYOUTS), default=list(LAYOUTS))


def main() -> None:
    bench = Bench(__doc__ or "", _options)
    rows = bench.options.rows or (QUICK_ROWS if bench.quick else FULL_ROWS)
    calls = QUICK_CALLS if bench.quick else CALLS
    with Servers(with_kafka=False) as servers:
        staged = servers.new_database()
        url = staged.settings.url.get_secret_value()
        staged.close()
        slow = CountingConnection(StorageSettings.load(url=url, request_timeout_seconds=3_600))
        _recreate(slow, replace(AUDIT_EVENTS, extras=()))
        slow.command("RENAME TABLE audit_events TO staged_events")
        QueryLog(slow, rows, "staged_events").grow(rows)
        bench.row("layout", "bytes/event", "insert µs/event", "merge µs/event", *_ASKED, "count of words")
        for name in bench.options.layouts:
            _recreate(slow, LAYOUTS[name](AUDIT_EVENTS))
            inserted = _insert(slow, servers, rows, {**INSERT_SETTINGS, **_SETTINGS.get(name, {})})
            log = QueryLog(slow, rows)
            before = _engine_seconds(servers)
            log.settle()
            merged = (_engine_seconds(servers) - before) / rows * 1e6
            _, size = log.parts()
            times = [time_storage(slow, question, calls).percentile(0.5) for question in asked(slow)]
            cells = f"{size / rows:.1f}", f"{inserted:.2f}", f"{merged:.2f}"
            bench.row(name, *cells, *(f"{each:.1f}" for each in times))
            key = "".join(letter if letter.isalnum() else "_" for letter in name)
            bench.figure(f"{key}_bytes_per_event", size / rows)
            bench.figure(f"{key}_insert_us_per_event", inserted)
            bench.figure(f"{key}_merge_us_per_event", merged)
            for question, each in zip((*_ASKED, "count of words"), times, strict=True):
                bench.figure(f"{key}: {question}, p50 ms", each)
            slow.command("DROP TABLE audit_events SYNC")
    bench.finish()


def _recreate(connection: CountingConnection, table: Table) -> None:
    connection.command("DROP TABLE IF EXISTS audit_events SYNC")
    connection.command(table.create())


def _insert(
    connection: CountingConnection, servers: Servers, rows: int, settings: Mapping[str, int]
) -> float:
    """Fill the table from the staged one; return the engine's processor time in microseconds for an event."""
    connection.command("SYSTEM STOP MERGES audit_events")
    before = _engine_seconds(servers)
    for first in range(0, rows // ACCOUNT_BUCKETS, BATCH_ROWS):
        for bucket in range(ACCOUNT_BUCKETS):
            connection.command(
                f"INSERT INTO audit_events ({_INSERTED}) SELECT {_INSERTED} FROM staged_events "
                "WHERE account_bucket = {bucket:UInt8} AND kafka_offset >= {first:Int64} "
                "AND kafka_offset < {end:Int64}",
                {"bucket": bucket, "first": first, "end": first + BATCH_ROWS},
                settings,
            )
    spent = _engine_seconds(servers) - before
    connection.command("SYSTEM START MERGES audit_events")
    return spent / rows * 1e6


def _engine_seconds(servers: Servers) -> float:
    assert servers.clickhouse.pid is not None
    return group_cost(servers.clickhouse.pid).cpu_seconds


if __name__ == "__main__":
    main()

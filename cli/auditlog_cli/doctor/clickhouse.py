"""ClickHouse: does it answer, are the tables there, can it take inserts, which errors did it have lately."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from auditlog_cli.doctor.diagnosis import Diagnosis
from auditlog_cli.doctor.reach import listens
from auditlog_schemas.errors import AuditError, ConfigError, StorageRejected, StorageUnavailable

if TYPE_CHECKING:
    from auditlog_storage.connection import Connection

FREE_BYTES_LOW: Final = 20 * 1024**3
FREE_BYTES_MIN: Final = 2 * 1024**3
LATELY_SECONDS: Final = 600
CLOCK_SECONDS_MAX: Final = 5.0
UNKNOWN_TABLE: Final = 60

_GIB: Final = 1024**3
_DISKS: Final = """
    SELECT name, free_space, total_space, is_read_only OR is_broken FROM system.disks
    WHERE type NOT IN ('Backup') ORDER BY free_space
"""
_PARTS: Final = """
    SELECT table, partition, count() AS parts FROM system.parts
    WHERE active AND database = currentDatabase() GROUP BY table, partition ORDER BY parts DESC LIMIT 1
"""
_PARTS_MAX: Final = """
    SELECT toUInt64(anyIf(value, name = 'parts_to_delay_insert')),
           toUInt64(anyIf(value, name = 'parts_to_throw_insert'))
    FROM system.merge_tree_settings
"""
_READ_ONLY: Final = (
    "SELECT groupArray(table) FROM system.replicas WHERE database = currentDatabase() AND is_readonly"
)
_MUTATIONS: Final = """
    SELECT table, command, latest_fail_reason FROM system.mutations
    WHERE database = currentDatabase() AND NOT is_done AND latest_fail_reason != '' LIMIT 1
"""
_INSERTING: Final = """
    SELECT max(elapsed), count() FROM system.processes
    WHERE query_kind IN ('Insert', 'AsyncInsertFlush') AND elapsed > 10
"""
_FAILED: Final = """
    SELECT exception_code, count(), max(event_time), anyLast(exception) FROM system.query_log
    WHERE event_time > now() - {seconds:UInt32} AND event_date >= today() - 1
      AND type IN ('ExceptionBeforeStart', 'ExceptionWhileProcessing') AND query_kind = 'Insert'
      AND hasAny(databases, [currentDatabase()])
    GROUP BY exception_code ORDER BY max(event_time) DESC LIMIT 3
"""
_ERRORS: Final = """
    SELECT code, value, last_error_time, last_error_message FROM system.errors
    WHERE last_error_time > now() - {seconds:UInt32} AND code IN {codes:Array(Int32)} AND NOT remote
    ORDER BY last_error_time DESC LIMIT 3
"""


def diagnose_clickhouse(connection: Connection) -> Iterator[Diagnosis]:
    """Look at ClickHouse, its tables and whether they can be written.

    Raises:
        AuditError: it does not answer, or refuses.
    """
    began = time.time()
    [(version, uptime, now)] = connection.query_rows("SELECT version(), uptime(), now64(3, 'UTC')")
    took = time.time() - began
    started = f", started {uptime} s ago" if uptime < LATELY_SECONDS else ""
    yield Diagnosis("clickhouse", "ok", f"{connection.address!r}, {version}{started}")
    tables = _tables(connection)
    yield tables
    yield _clock(now, began, took)
    if tables.status == "ok":
        # The asked and the answered: who may not read system tables still gets the other answers.
        for name, look in (("engine disk", _disk), ("parts", _parts), ("inserts", _inserts)):
            yield from _allowed(name, look, connection)


def unanswered(connection: Connection | None, error: AuditError) -> Diagnosis:
    """Return the diagnosis of a ClickHouse that is away: nothing listens, or it hangs, or it refuses."""
    if connection is None or not isinstance(error, StorageUnavailable):
        return Diagnosis("clickhouse", "wrong", str(error), unless_said(error, "correct its address"))
    at = connection.address
    if listens(at.host, at.port):
        hint = (
            "it accepts connections and gives no answer: it hangs, is overloaded or its disk stands still; "
            "look at its log and its processor, restart it if nothing moves; consumers wait meanwhile"
        )
        return Diagnosis("clickhouse", "wrong", str(error), hint)
    hint = f"nothing listens at {at.host}:{at.port}: start it, or correct its address"
    return Diagnosis("clickhouse", "wrong", str(error), hint)


def unless_said(error: AuditError, hint: str) -> str:
    """Return the hint, but for an error that says in backquotes what to do."""
    return "" if "`" in str(error) else hint


def _tables(connection: Connection) -> Diagnosis:
    from auditlog_storage.migrations import MIGRATIONS, applied_migrations

    newest = MIGRATIONS[-1].version
    try:
        version = max((step.version for step in applied_migrations(connection)), default=0)
    except (ConfigError, StorageRejected):
        # No such database, or no such table: never migrated.
        version = 0
    found = f"version {version} of {newest}"
    if version < newest:
        return Diagnosis("tables", "wrong", found, "`auditlog migrate`")
    if version > newest:
        hint = "install the version of auditlog that made them, or a newer one"
        return Diagnosis("tables", "wrong", found, hint)
    return Diagnosis("tables", "ok", found)


def _clock(shown: datetime, began: float, took: float) -> Diagnosis:
    apart = shown.timestamp() - (began + took / 2)
    found = f"ClickHouse's shows {abs(apart):,.1f} s {'more' if apart > 0 else 'less'} than this machine's"
    if abs(apart) <= max(CLOCK_SECONDS_MAX, took):
        return Diagnosis("clock", "ok", found)
    hint = "no harm to what is stored, but set both; docs/operations.md says how under: the engine's clock"
    return Diagnosis("clock", "note", found, hint)


def _allowed(
    name: str, look: Callable[[Connection], Iterator[Diagnosis]], connection: Connection
) -> Iterator[Diagnosis]:
    try:
        yield from look(connection)
    except (ConfigError, StorageRejected) as error:
        yield Diagnosis(name, "note", f"cannot be looked at: {error}")


def _disk(connection: Connection) -> Iterator[Diagnosis]:
    disks = connection.query_rows(_DISKS)
    for name, free, total, broken in disks:
        found = f"{name}: {free / _GIB:,.1f} of {total / _GIB:,.1f} GiB free"
        if broken:
            hint = "look at ClickHouse's log and mend the disk; consumers wait and lose nothing"
            yield Diagnosis("engine disk", "wrong", f"{found}, broken or read-only", hint)
        elif free < FREE_BYTES_MIN:
            hint = "free some space or add a disk; consumers wait and lose nothing"
            yield Diagnosis("engine disk", "wrong", found, hint)
        elif free < FREE_BYTES_LOW and free < total / 10:
            yield Diagnosis("engine disk", "note", found, "merges need room for a copy of what they merge")
        else:
            yield Diagnosis("engine disk", "ok", found)


def _parts(connection: Connection) -> Iterator[Diagnosis]:
    [(delayed, refused)] = connection.query_rows(_PARTS_MAX)
    worst = connection.query_rows(_PARTS)
    table, partition, parts = worst[0] if worst else ("audit_events", "", 0)
    found = f"at most {parts:,} in a partition ({table} {partition}); inserts slow down at {delayed:,}"
    if parts >= delayed:
        hint = (
            "merges are behind: look at system.merges; a longer AUDITLOG_FLUSH_INTERVAL_SECONDS makes fewer"
        )
        yield Diagnosis("parts", "wrong" if parts >= refused else "note", found, hint)
    else:
        yield Diagnosis("parts", "ok", found)
    for table, command, reason in connection.query_rows(_MUTATIONS):
        hint = "mend what it says, or `KILL MUTATION`"
        yield Diagnosis("mutations", "note", f"{table}: {command} fails: {_short(reason)}", hint)


def _inserts(connection: Connection) -> Iterator[Diagnosis]:
    [(read_only,)] = connection.query_rows(_READ_ONLY)
    if read_only:
        hint = "their replica lost Keeper: bring Keeper back, then `SYSTEM RESTART REPLICA`"
        yield Diagnosis("inserts", "wrong", f"read-only: {', '.join(sorted(read_only))}", hint)
        return
    [(elapsed, count)] = connection.query_rows(_INSERTING)
    if count:
        hint = "a slow disk, or too little memory: look at system.processes"
        yield Diagnosis("inserts", "note", f"{count} run for more than 10 s, one for {elapsed:,.0f} s", hint)
    failures = _lately(connection)
    for found in failures:
        yield Diagnosis("inserts", "note", found, "the consumer tries again; if it stays so, mend the cause")
    if not count and not failures:
        yield Diagnosis("inserts", "ok", f"no failure in the last {LATELY_SECONDS // 60} minutes")


def _lately(connection: Connection) -> list[str]:
    """Return failures of inserts, by the query log; without one, all errors after which inserts wait."""
    from auditlog_storage.server_errors import RETRY

    seconds = {"seconds": LATELY_SECONDS}
    form = "{count} failed with code {code}, last at {last}: {text}"
    try:
        rows = connection.query_rows(_FAILED, seconds)
    except StorageRejected as error:
        if error.code != UNKNOWN_TABLE:
            raise
        form = "error {code}, {count} times since the start, last at {last}: {text}"
        rows = connection.query_rows(_ERRORS, {**seconds, "codes": sorted(RETRY)})
    return [
        form.format(code=code, count=count, last=_time(last), text=_short(text))
        for code, count, last, text in rows
    ]


def _time(shown: datetime) -> str:
    aware = shown if shown.tzinfo else shown.replace(tzinfo=UTC)
    return f"{aware.astimezone(UTC):%H:%M:%S} UTC"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:200]}…"

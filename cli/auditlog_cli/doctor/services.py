"""The services: Kafka, its topics, ClickHouse, its tables, and whether consumers keep up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditlog_cli.addresses import clickhouse_url, consumer_settings
from auditlog_cli.doctor.diagnosis import Diagnosis
from auditlog_schemas.errors import AuditError, ConfigError, StorageRejected

if TYPE_CHECKING:
    from auditlog_consumer.settings import ConsumerSettings
    from auditlog_storage.connection import Connection

LAG_PAUSE_SECONDS: Final = 2.0
BUCKETS: Final = 8


def diagnose_services(data_dir: Path) -> Iterator[Diagnosis]:
    """Look at what runs; a service that is away makes what depends on it unknown, not wrong."""
    settings: ConsumerSettings | None = None
    try:
        settings = consumer_settings(data_dir)
        yield from _kafka(settings)
    except AuditError as error:
        settings = None
        yield Diagnosis("kafka", "wrong", str(error), _unless_said(error, "start it, or correct its address"))
    connection: Connection | None = None
    try:
        connection = _connection(data_dir)
        yield from _clickhouse(connection)
    except AuditError as error:
        connection = None
        yield Diagnosis(
            "clickhouse", "wrong", str(error), _unless_said(error, "start it, or correct its address")
        )
    if settings is not None and connection is not None:
        try:
            yield _lag(settings, connection)
        except AuditError as error:
            yield Diagnosis("lag", "wrong", str(error), _unless_said(error, "see the lines above"))
    if connection is not None:
        connection.close()


def _kafka(settings: ConsumerSettings) -> Iterator[Diagnosis]:
    from auditlog_consumer.topics import Topics

    topics = Topics(settings.kafka, settings.kafka_config)
    try:
        events = topics.describe(settings.topic)
    except ConfigError as error:
        yield Diagnosis("kafka", "ok", settings.kafka)
        yield Diagnosis("topic", "wrong", str(error), "start a consumer: `auditlog consume`")
        return
    yield Diagnosis("kafka", "ok", settings.kafka)
    found = f"{events.name}, {events.partitions} partitions, {events.timestamp_type}"
    if events.timestamp_type != "LogAppendTime":
        yield Diagnosis(
            "topic",
            "wrong",
            found,
            f"set message.timestamp.type=LogAppendTime on {events.name}: now producers set the time",
        )
    elif events.partitions % BUCKETS:
        hint = f"a multiple of {BUCKETS} partitions makes inserts cheaper; this works too"
        yield Diagnosis("topic", "note", found, hint)
    else:
        yield Diagnosis("topic", "ok", found)
    try:
        dead = topics.describe(settings.dead_topic)
        yield Diagnosis("dead letters", "ok", f"{dead.name}, {dead.partitions} partitions")
    except ConfigError as error:
        yield Diagnosis("dead letters", "wrong", str(error), "start a consumer: `auditlog consume`")


def _connection(data_dir: Path) -> Connection:
    from auditlog_storage.connection import Connection
    from auditlog_storage.settings import StorageSettings

    # Short: a doctor that hangs is no help.
    settings = StorageSettings.load(
        url=clickhouse_url(data_dir), connect_timeout_seconds=3, request_timeout_seconds=15
    )
    return Connection(settings)


def _clickhouse(connection: Connection) -> Iterator[Diagnosis]:
    from auditlog_storage.migrations import MIGRATIONS, applied_migrations

    connection.command("SELECT 1", in_database=False)
    yield Diagnosis("clickhouse", "ok", repr(connection.address))
    newest = MIGRATIONS[-1].version
    try:
        version = max((step.version for step in applied_migrations(connection)), default=0)
    except (ConfigError, StorageRejected):
        # No such database, or no such table: never migrated.
        version = 0
    found = f"version {version} of {newest}"
    if version < newest:
        yield Diagnosis("tables", "wrong", found, "`auditlog migrate`")
    elif version > newest:
        yield Diagnosis(
            "tables", "wrong", found, "install the version of auditlog that made them, or a newer one"
        )
    else:
        yield Diagnosis("tables", "ok", found)


def _lag(settings: ConsumerSettings, connection: Connection) -> Diagnosis:
    from auditlog_consumer.lag import lag

    before = lag(settings, connection)
    waiting = sum(partition.lag for partition in before)
    if not waiting:
        return Diagnosis("lag", "ok", "none: everything in Kafka is accounted for")
    time.sleep(LAG_PAUSE_SECONDS)
    after = lag(settings, connection)
    moved = sum(partition.next_offset for partition in after) - sum(
        partition.next_offset for partition in before
    )
    waiting = sum(partition.lag for partition in after)
    if not waiting:
        return Diagnosis("lag", "ok", "none: everything in Kafka is accounted for")
    if moved:
        return Diagnosis(
            "lag", "ok", f"{waiting:,} messages wait, {moved / LAG_PAUSE_SECONDS:,.0f}/s are done"
        )
    return Diagnosis(
        "lag",
        "wrong",
        f"{waiting:,} messages wait and none are done",
        "start a consumer: `auditlog consume`; if one runs, read its log",
    )


def _unless_said(error: AuditError, hint: str) -> str:
    return "" if "`" in str(error) else hint

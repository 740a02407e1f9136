"""Putting an API process together: its settings, its connection, and what it may know of Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditlog_cli.addresses import clickhouse_url, connect, consumer_settings
from auditlog_cli.catalog_source import configured_catalog
from auditlog_schemas.errors import BrokerUnavailable

if TYPE_CHECKING:
    from fastapi import FastAPI

    from auditlog_api.health import AskKafka
    from auditlog_api.own_events import OwnEvents
    from auditlog_api.settings import ApiSettings
    from auditlog_consumer.settings import ConsumerSettings
    from auditlog_exports.jobs import Jobs
    from auditlog_storage.connection import Connection

SPARE_CONNECTIONS: Final = 8
"""Beside those of queries: for tokens, three lanes of them, and health."""


@contextmanager
def api_app(settings: ApiSettings, data_dir: Path) -> Iterator[FastAPI]:
    """Yield the application over the ClickHouse and Kafka that are found; close what it used afterwards.

    Raises:
        ConfigError, StorageUnavailable: see `clickhouse_url`. A Kafka is not needed.
    """
    from auditlog_api.app import create_app
    from auditlog_storage.connection import Connection
    from auditlog_storage.settings import StorageSettings

    storage = StorageSettings.load(
        url=clickhouse_url(data_dir), connections_max=settings.queries_max + SPARE_CONNECTIONS
    )
    catalog = configured_catalog()
    events, _ = own_events(data_dir)
    with Connection(storage) as connection:
        try:
            probe = _kafka_probe(data_dir, connection)
            yield create_app(settings, connection, catalog, events, probe, _jobs(data_dir, connection))
        finally:
            events.close()


def own_events(data_dir: Path, service: str = "auditlog-api") -> tuple[OwnEvents, str]:
    """Return what records the API's own audit events, and why it records none, or nothing."""
    from auditlog_api.own_events import OwnEvents

    catalog = configured_catalog()
    settings = _kafka(data_dir)
    if settings is None:
        return OwnEvents(None, catalog), "there is no Kafka (AUDITLOG_KAFKA)"
    events = OwnEvents(
        settings.kafka,
        catalog,
        topic=settings.topic,
        registry=settings.schema_registry_url,
        kafka_config=settings.kafka_config,
        service=service,
        key=partial(own_key, data_dir),
    )
    return events, ""


def own_key(data_dir: Path) -> bytes:
    """Return the key that the audit log's own events are signed with.

    Raises:
        ConfigError: `auditlog migrate` has not made it.
        StorageUnavailable: as in `clickhouse_url` and `Connection`.
    """
    from auditlog_storage.keys import Keys

    with connect(data_dir) as connection:
        return Keys(connection).read("own_events")


def _jobs(data_dir: Path, connection: Connection) -> Jobs:
    from auditlog_cli.export_jobs import export_settings
    from auditlog_exports.jobs import Jobs
    from auditlog_exports.object_store import ObjectStore

    settings = export_settings(data_dir)
    return Jobs(settings, ObjectStore(settings.url), connection)


def _kafka(data_dir: Path) -> ConsumerSettings | None:
    try:
        return consumer_settings(data_dir)
    except BrokerUnavailable:
        return None


def _kafka_probe(data_dir: Path, connection: Connection) -> AskKafka | None:
    settings = _kafka(data_dir)
    if settings is None:
        return None
    from auditlog_cli.kafka_probe import KafkaProbe

    return KafkaProbe(settings, connection)

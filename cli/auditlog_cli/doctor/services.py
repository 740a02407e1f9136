"""The services: Kafka, ClickHouse, the schema registry, and whether consumers keep up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from auditlog_cli.addresses import clickhouse_url, consumer_settings
from auditlog_cli.doctor import clickhouse
from auditlog_cli.doctor.diagnosis import Diagnosis
from auditlog_cli.doctor.kafka import diagnose_kafka
from auditlog_cli.doctor.progress import diagnose_progress
from auditlog_cli.doctor.reach import listens
from auditlog_schemas.errors import AuditError

if TYPE_CHECKING:
    from auditlog_consumer.settings import ConsumerSettings
    from auditlog_storage.connection import Connection


def diagnose_services(data_dir: Path) -> Iterator[Diagnosis]:
    """Look at what runs; a service that is away makes what depends on it unknown, not wrong."""
    trouble: list[str] = []

    def noted(found: Iterator[Diagnosis]) -> Iterator[Diagnosis]:
        for diagnosis in found:
            trouble.extend([diagnosis.name] if diagnosis.status == "wrong" else [])
            yield diagnosis

    settings: ConsumerSettings | None = None
    try:
        settings = consumer_settings(data_dir)
        yield from noted(diagnose_kafka(settings))
    except AuditError as error:
        settings = None
        hint = clickhouse.unless_said(error, "start it, or correct its address")
        yield Diagnosis("kafka", "wrong", str(error), hint)
    if settings is not None:
        yield from noted(_registry(settings))
    connection: Connection | None = None
    try:
        connection = _connection(data_dir)
        with closing(connection):
            yield from noted(clickhouse.diagnose_clickhouse(connection))
            yield from _progress(settings, connection, trouble)
    except AuditError as error:
        yield clickhouse.unanswered(connection, error)
        yield from _progress(settings, None, ["clickhouse"])


def _progress(
    settings: ConsumerSettings | None, connection: Connection | None, trouble: list[str]
) -> Iterator[Diagnosis]:
    if settings is None or "tables" in trouble:
        return
    try:
        yield from diagnose_progress(settings, connection, trouble)
    except AuditError as error:
        yield Diagnosis("lag", "wrong", str(error), clickhouse.unless_said(error, "see the lines above"))


def _registry(settings: ConsumerSettings) -> Iterator[Diagnosis]:
    url = settings.schema_registry_url
    if not url:
        return
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    at = f"{parts.scheme}://{host}:{port}"
    if listens(host, port):
        yield Diagnosis("registry", "ok", at)
    else:
        hint = (
            "start it, or correct AUDITLOG_SCHEMA_REGISTRY_URL; consumers wait where they need a schema of it"
        )
        yield Diagnosis("registry", "wrong", f"nothing listens at {at}", hint)


def _connection(data_dir: Path) -> Connection:
    from auditlog_storage.connection import Connection
    from auditlog_storage.settings import StorageSettings

    # Short: a doctor that hangs is no help.
    return Connection(
        StorageSettings.load(
            url=clickhouse_url(data_dir), connect_timeout_seconds=3, request_timeout_seconds=10
        )
    )

"""Finding Kafka and ClickHouse: the environment, then the local stack that runs, then a clear error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auditlog_schemas.errors import BrokerUnavailable, StorageUnavailable

if TYPE_CHECKING:
    from auditlog_consumer.settings import ConsumerSettings
    from auditlog_storage.connection import Connection

KAFKA: Final = "AUDITLOG_KAFKA"
CLICKHOUSE: Final = "AUDITLOG_CLICKHOUSE_URL"


def kafka_address(data_dir: Path) -> str:
    """Return Kafka's bootstrap servers.

    Raises:
        BrokerUnavailable: the environment names none and no local stack runs in `data_dir`.
    """
    if given := os.environ.get(KAFKA):
        return given
    if running := _running(data_dir):
        return str(running.kafka)
    raise BrokerUnavailable(_nothing("Kafka", KAFKA, "host:port", data_dir))


def clickhouse_url(data_dir: Path) -> str:
    """Return ClickHouse's URL.

    Raises:
        StorageUnavailable: the environment names none and no local stack runs in `data_dir`.
    """
    if given := os.environ.get(CLICKHOUSE):
        return given
    if running := _running(data_dir):
        return str(running.clickhouse_url)
    raise StorageUnavailable(
        _nothing("ClickHouse", CLICKHOUSE, "http://user:password@host:port/database", data_dir)
    )


def consumer_settings(data_dir: Path) -> ConsumerSettings:
    """Return the consumer's settings of the environment, with the Kafka that was found.

    Raises:
        ConfigError: a variable is wrong.
        BrokerUnavailable: as in `kafka_address`.
    """
    from auditlog_consumer.settings import ConsumerSettings

    return ConsumerSettings.load(kafka=kafka_address(data_dir))


def connect(data_dir: Path) -> Connection:
    """Return a connection to the ClickHouse that was found; nothing is sent yet.

    Raises:
        ConfigError: a variable is wrong.
        StorageUnavailable: as in `clickhouse_url`.
    """
    from auditlog_storage.connection import Connection
    from auditlog_storage.settings import StorageSettings

    return Connection(StorageSettings.load(url=clickhouse_url(data_dir)))


def _running(data_dir: Path) -> Any:
    from auditlog_local.running_stack import find_running

    return find_running(data_dir)


def _nothing(what: str, variable: str, form: str, data_dir: Path) -> str:
    return (
        f"no {what}: {variable} is not set and no stack runs in {data_dir}; "
        f"start one with `auditlog up`, or set {variable}={form}"
    )

"""ClickHouse as the contract tests see it: the model and the real engine, behind the same few names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa

from auditlog_consumer.batch import Batch
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition
from auditlog_schemas.catalog_file import load_catalog
from auditlog_storage.connection import Connection
from auditlog_storage.ledger import Ledger
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import StorageSettings
from auditlog_storage.stored import StoredRows
from auditlog_storage.writer import EventWriter
from simulated.clickhouse_clients import SimEventWriter, SimLedger, SimStoredRows
from simulated.clickhouse_model import EngineModel
from simulated.kernel import Kernel, Process
from simulated.network import Network
from simulated.payloads import RECEIVED_MILLIS, Payload, judge, payloads
from simulated.scenario import Scenario
from simulated.weather import Weather


@dataclass(slots=True)
class Storage:
    """One database, with the classes that the consumer uses of it.

    Attributes:
        set_window: sets the deduplication window, in parts.
    """

    writer: EventWriter
    stored: StoredRows
    ledger: Ledger
    set_window: Any
    topic_id: UUID

    def insert(self, token: str, *offsets: int, first_payload: int = 0, seconds: float | None = None) -> None:
        """Insert one row for each offset; a deadline is so many seconds from now by the engine's clock."""
        deadline = None if seconds is None else self.writer.engine_now() + timedelta(seconds=seconds)
        self.writer.insert(self.rows(*offsets, first_payload=first_payload), token, deadline)

    def rows(self, *offsets: int, first_payload: int = 0) -> pa.RecordBatch:
        """Return one row for each offset, each of another event, in different parts of the table."""
        return rows_of(self.topic_id, payloads("good")[first_payload:], offsets)

    def offsets(self, first: int = 0, last: int = 1_000) -> list[int]:
        """Return the stored offsets of a range."""
        found: Any = self.stored.offsets(self.topic_id, 0, first, last)["kafka_offset"]
        return list(found.to_pylist())


def rows_of(topic_id: UUID, messages: tuple[Payload, ...], offsets: tuple[int, ...]) -> pa.RecordBatch:
    """Return the rows that the real judge makes of messages at these offsets of partition 0."""
    values = [message.value for message in messages[: len(offsets)]]
    numbers = np.array(offsets, np.int64)
    millis = np.full(len(offsets), RECEIVED_MILLIS, np.int64)
    batch = Messages.by_column(values, [b"key"] * len(values), numbers, millis)
    partition = Partition("audit.events", topic_id, 0)
    return judge(False).judge(Batch(partition, offsets[0], offsets[-1], batch)).rows


@contextmanager
def model_storage() -> Iterator[Storage]:
    """Give the model, on a quiet day."""
    kernel, scenario = Kernel(0), Scenario.drawn(0)
    network, engine = Network(kernel, Weather(), scenario), EngineModel(kernel, scenario)
    at: Any = (engine, network, Process(kernel, "test"))

    def set_window(parts: int) -> None:
        engine.tokens_max = parts

    writer: Any = SimEventWriter(*at)
    stored: Any = SimStoredRows(*at)
    ledger: Any = SimLedger(*at)
    yield Storage(writer, stored, ledger, set_window, uuid4())


@contextmanager
def real_storage(url: str) -> Iterator[Storage]:
    """Give the real engine, with migrated tables."""
    with Connection(StorageSettings.load(url=url)) as connection:
        migrate(connection, load_catalog())

        def set_window(parts: int) -> None:
            setting = f"non_replicated_deduplication_window = {parts}"
            connection.command(f"ALTER TABLE audit_events MODIFY SETTING {setting}")

        yield Storage(
            EventWriter(connection), StoredRows(connection), Ledger(connection), set_window, uuid4()
        )

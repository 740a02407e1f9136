# mypy: disable-error-code="import-not-found", allow-subclassing-any
"""Sentry's Arroyo with fastavro: its consumer, its batching step, rows inserted, its offset commits.

Decoded by fastavro and checked against the catalog's actions only: without pydantic, so it does less than the
obvious way and ours.

python -m peers.arroyo_way KAFKA CLICKHOUSE_URL TOPIC TOPIC_ID EVENTS
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from uuid import UUID

import clickhouse_connect
import fastavro
from arroyo.backends.kafka import KafkaConsumer, KafkaPayload
from arroyo.backends.kafka.configuration import build_kafka_consumer_configuration
from arroyo.processing.processor import StreamProcessor
from arroyo.processing.strategies import BatchStep, CommitOffsets, RunTask
from arroyo.processing.strategies.abstract import ProcessingStrategy, ProcessingStrategyFactory
from arroyo.types import BrokerValue, Commit, Message, Partition, Topic
from peers.event_model import COLUMNS, row_of_record
from peers.report import say

from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import EVENT_SCHEMA, SINGLE_OBJECT_HEADER_BYTES

ROWS_MAX = 100_000
FLUSH_SECONDS = 5.0


class ArroyoWay(ProcessingStrategyFactory[KafkaPayload]):
    def __init__(self, clickhouse_url: str, topic_id: UUID, events: int) -> None:
        self.client = clickhouse_connect.get_client(dsn=clickhouse_url, compress=False)
        self.schema = fastavro.parse_schema(EVENT_SCHEMA)
        self.actions = frozenset(load_catalog().actions)
        self.topic_id = topic_id
        self.events = events
        self.stored = 0
        self.processor: StreamProcessor[KafkaPayload] | None = None

    def create_with_partitions(
        self, commit: Commit, partitions: Mapping[Partition, int]
    ) -> ProcessingStrategy[KafkaPayload]:
        if partitions:
            say("assigned")
        store = RunTask(self.store, CommitOffsets(commit))
        return RunTask(self.row, BatchStep(ROWS_MAX, FLUSH_SECONDS, store))

    def row(self, message: Message[KafkaPayload]) -> list[Any]:
        value = message.value
        assert isinstance(value, BrokerValue)
        body = BytesIO(message.payload.value[SINGLE_OBJECT_HEADER_BYTES:])
        record: Any = fastavro.schemaless_reader(body, self.schema, None)
        if record["action"] not in self.actions:
            raise ValueError(f"unknown action {record['action']}")
        return row_of_record(record, self.topic_id, value.partition.index, value.offset, value.timestamp)

    def store(self, message: Message[Any]) -> Any:
        rows = [value.payload for value in message.payload]
        self.client.insert("audit_events", rows, column_names=COLUMNS, settings={"async_insert": 0})
        self.stored += len(rows)
        say("stored", accepted=len(rows))
        if self.stored >= self.events and self.processor is not None:
            self.processor.signal_shutdown()
        return message.payload


def main() -> None:
    kafka, clickhouse_url, topic, topic_id, events = sys.argv[1:]
    way = ArroyoWay(clickhouse_url, UUID(topic_id), int(events))
    consumer = KafkaConsumer(
        build_kafka_consumer_configuration(
            {},
            bootstrap_servers=[kafka],
            auto_offset_reset="earliest",
            group_id=f"arroyo-{time.time_ns()}",
        )
    )
    way.processor = StreamProcessor(consumer=consumer, topic=Topic(topic), processor_factory=way)
    way.processor.run()


if __name__ == "__main__":
    main()

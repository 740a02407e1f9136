"""The obvious way: consume, decode with fastavro, check with pydantic, insert rows, commit offsets.

As a Python developer would write it with the usual packages and their usual advice: messages polled by the
10,000, rows inserted by the 100,000 or when nothing comes for half a second, offsets committed after the
insert. At least once, nothing recorded, and one bad message stops it.

python -m peers.obvious_way KAFKA CLICKHOUSE_URL TOPIC TOPIC_ID EVENTS
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from uuid import UUID

import clickhouse_connect
import fastavro
from confluent_kafka import Consumer
from peers.event_model import COLUMNS, Event, row_of_event
from peers.report import say

from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import EVENT_SCHEMA, SINGLE_OBJECT_HEADER_BYTES

ROWS_MAX = 100_000


class ObviousWay:
    def __init__(self, kafka: str, clickhouse_url: str, topic: str, topic_id: UUID) -> None:
        self.client = clickhouse_connect.get_client(dsn=clickhouse_url, compress=False)
        self.schema = fastavro.parse_schema(EVENT_SCHEMA)
        self.actions = frozenset(load_catalog().actions)
        self.topic_id = topic_id
        self.consumer = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": f"obvious-{time.time_ns()}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        self.consumer.subscribe([topic], on_assign=lambda *_: say("assigned"))

    def run(self, events: int) -> None:
        rows: list[list[Any]] = []
        stored = 0
        while stored < events:
            messages = self.consumer.consume(10_000, 0.5)
            rows += [self.row(message) for message in messages if message.error() is None]
            if len(rows) >= ROWS_MAX or (rows and not messages):
                self.store(rows)
                stored, rows = stored + len(rows), []

    def row(self, message: Any) -> list[Any]:
        body = BytesIO(message.value()[SINGLE_OBJECT_HEADER_BYTES:])
        event = Event.model_validate(fastavro.schemaless_reader(body, self.schema, None))
        if event.action not in self.actions:
            raise ValueError(f"unknown action {event.action}")
        received = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        return row_of_event(event, self.topic_id, message.partition(), message.offset(), received)

    def store(self, rows: list[list[Any]]) -> None:
        self.client.insert("audit_events", rows, column_names=COLUMNS, settings={"async_insert": 0})
        self.consumer.commit(asynchronous=False)
        say("stored", accepted=len(rows))


def main() -> None:
    kafka, clickhouse_url, topic, topic_id, events = sys.argv[1:]
    ObviousWay(kafka, clickhouse_url, topic, UUID(topic_id)).run(int(events))


if __name__ == "__main__":
    main()

"""A producer whose every batch is one transaction."""

from __future__ import annotations

import uuid

from confluent_kafka import Producer

from auditlog_schemas.codec import encode
from auditlog_schemas.event import AuditEvent
from kit.pipeline import Pipeline


class Transactions:
    """A producer whose every batch is one transaction."""

    def __init__(self, pipeline: Pipeline, *, name: str = "", timeout_seconds: float = 60.0) -> None:
        kafka = {"bootstrap.servers": pipeline.settings.kafka, "partitioner": "murmur2_random"}
        self._topic = pipeline.topic
        timeout = {"transaction.timeout.ms": int(timeout_seconds * 1_000)}
        self._producer = Producer({**kafka, **timeout, "transactional.id": name or uuid.uuid4().hex})
        self._producer.init_transactions(30)

    def publish(self, events: list[AuditEvent], *, ends: str = "commit") -> None:
        self._producer.begin_transaction()
        for event in events:
            self._producer.produce(self._topic, encode(event.to_record()), event.account_id.encode())
        self._producer.flush(30)
        if ends == "commit":
            self._producer.commit_transaction(30)
        elif ends == "abort":
            self._producer.abort_transaction(30)

    def commit(self) -> None:
        self._producer.commit_transaction(30)

"""Partitions are added to a topic that is written to and read: every event is recorded once, old and new."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from typing import Final

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from auditlog_consumer.topics import Topics
from auditlog_schemas.event import AuditEvent
from kit.events import make_event
from kit.pipeline import Pipeline

pytestmark = [pytest.mark.integration, pytest.mark.long]

ACCOUNTS: Final = 40
SECONDS_MAX: Final = 180.0
SOON: Final = {"topic.metadata.refresh.interval.ms": "300"}
"""Clients ask for a topic's partitions every five minutes, unless told otherwise."""


class Load:
    """Publishes one event of every account again and again while inside."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self.published: list[AuditEvent] = []

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._over.set()
        self._thread.join(SECONDS_MAX)

    def _publish(self) -> None:
        while not self._over.is_set():
            events = [make_event(account_id=f"acc_{number}") for number in range(ACCOUNTS)]
            self._pipeline.publish(events)
            self.published += events


def add_partitions(pipeline: Pipeline, count: int) -> None:
    admin = AdminClient({"bootstrap.servers": pipeline.settings.kafka})
    admin.create_partitions([NewPartitions(pipeline.topic, count)])[pipeline.topic].result(60)


def recorded(pipeline: Pipeline) -> set[int]:
    """Return the partitions of which something is stored."""
    rows = pipeline.connection.query_rows("SELECT DISTINCT kafka_partition FROM audit_events")
    return {int(number) for (number,) in rows}


def test_everything_is_recorded_once(kafka_bootstrap: str, fresh_database: str) -> None:
    pipeline = Pipeline(kafka_bootstrap, fresh_database, kafka_config=SOON)
    before = Topics(kafka_bootstrap).describe(pipeline.topic).partitions
    with ExitStack() as running:
        for _ in range(2):
            running.enter_context(pipeline.running())
        load = running.enter_context(Load(pipeline))
        deadline = time.monotonic() + SECONDS_MAX
        for count in (before + 3, before + 5):
            add_partitions(pipeline, count)
            # Without a restart, and while messages come in.
            while max(recorded(pipeline), default=0) < count - 2:
                pipeline.raise_failure()
                assert time.monotonic() < deadline, recorded(pipeline)
                time.sleep(0.2)
        load.end()
        pipeline.wait_until_caught_up()
    ids = pipeline.stored_ids()
    assert len(ids) == len(set(ids)) == len(load.published)
    assert set(ids) == {event.event_id for event in load.published}
    assert pipeline.check().accepted == len(ids)
    require_order(pipeline, load.published)
    pipeline.close()


def require_order(pipeline: Pipeline, published: list[AuditEvent]) -> None:
    """Require what the runbook says: accounts move, and within a partition their order stays."""
    turn = {event.event_id: number for number, event in enumerate(published)}
    sql = "SELECT account_id, kafka_partition, event_id FROM audit_events ORDER BY kafka_offset"
    turns = defaultdict[tuple[str, int], list[int]](list)
    for account, partition, event_id in pipeline.connection.query_rows(sql):
        turns[account, partition].append(turn[event_id])
    assert all(each == sorted(each) for each in turns.values())
    assert len(turns) > ACCOUNTS

"""Transactional producers: what was aborted and the marks between are offsets without a message."""

from __future__ import annotations

import threading
import time

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from auditlog_consumer.acknowledged import AcknowledgedWriter, Outgoing
from auditlog_schemas.codec import encode
from auditlog_schemas.event import AuditEvent
from kit.events import make_event
from kit.one_partition import OnePartition
from kit.pipeline import Pipeline
from kit.transactions import Transactions

pytestmark = pytest.mark.integration


def make_events(count: int) -> list[AuditEvent]:
    return [make_event() for _ in range(count)]


def test_aborted_batches_are_absent_also_at_the_end(pipeline: Pipeline) -> None:
    producer = Transactions(pipeline)
    producer.publish(make_events(3), ends="abort")
    producer.publish(make_events(5))
    producer.publish(make_events(4), ends="abort")
    producer.publish(make_events(5))
    producer.publish(make_events(6), ends="abort")
    with pipeline.running():
        pipeline.wait_until_caught_up()
        report = pipeline.report()
        assert report.ok, report.findings
        assert (report.accepted, report.absent) == (10, 13 + 5)
        producer.publish(make_events(7), ends="abort")
        pipeline.wait_until_caught_up()
        producer.publish(make_events(2))
        pipeline.wait_until_caught_up()
    report = pipeline.report()
    assert report.ok, report.findings
    assert (report.accepted, report.absent) == (12, 20 + 7)
    assert OnePartition(pipeline).stored() == [*range(4, 9), *range(15, 20), 36, 37]


def test_nothing_but_an_aborted_batch(pipeline: Pipeline) -> None:
    Transactions(pipeline).publish(make_events(4), ends="abort")
    for _ in range(2):
        with pipeline.running():
            pipeline.wait_until_caught_up()
    report = pipeline.report()
    assert report.ok, report.findings
    assert (report.ranges, report.accepted, report.absent) == (1, 0, 5)


def test_an_open_transaction_is_waited_for(pipeline: Pipeline) -> None:
    """Its messages and what others publish behind it are stored when it ends, none of them as absent."""
    open_one = Transactions(pipeline)
    pipeline.publish(make_events(3))
    open_one.publish(make_events(4), ends="later")
    pipeline.publish(make_events(5))
    with pipeline.running():
        deadline = time.monotonic() + 120
        while len(pipeline.stored_ids()) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1.0)
        assert len(pipeline.stored_ids()) == 3
        open_one.commit()
        pipeline.wait_until_caught_up()
    report = pipeline.report()
    assert report.ok, report.findings
    assert (report.accepted, report.absent) == (12, 1)


def test_partitions_that_are_added_under_load_are_read(kafka_bootstrap: str, fresh_database: str) -> None:
    often = {"topic.metadata.refresh.interval.ms": "300"}
    pipeline = Pipeline(kafka_bootstrap, fresh_database, kafka_config=often)
    events = [make_event(account_id=f"acc_{number}") for number in range(4_000)]
    added = threading.Event()

    def publish() -> None:
        writer = AcknowledgedWriter(pipeline.settings.kafka, often)
        for first in range(0, len(events), 100):
            some = events[first : first + 100]
            writer.write(
                pipeline.topic,
                [Outgoing(event.account_id.encode(), encode(event.to_record())) for event in some],
            )
            if first == 1_000:
                more = NewPartitions(pipeline.topic, 12)
                admin = AdminClient({"bootstrap.servers": pipeline.settings.kafka})
                admin.create_partitions([more])[pipeline.topic].result(60)
                added.set()
            time.sleep(0.03)
        writer.close()

    with pipeline.running():
        thread = threading.Thread(target=publish)
        thread.start()
        thread.join(120)
        assert added.is_set()
        pipeline.wait_until_caught_up()
    assert sorted(pipeline.stored_ids()) == sorted(event.event_id for event in events)
    assert pipeline.check().accepted == len(events)
    used = pipeline.connection.query_rows("SELECT DISTINCT kafka_partition FROM audit_events ORDER BY 1")
    assert [row[0] for row in used] == list(range(12))
    pipeline.close()

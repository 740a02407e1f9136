"""The check beside consumers that work, and over a log with aborted transactions."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import Producer

from auditlog_schemas.codec import encode
from auditlog_schemas.event import Source
from kit.events import make_event
from kit.pipeline import Pipeline

pytestmark = pytest.mark.integration

ROUNDS = 6
EVENTS_PER_ROUND = 300


def test_there_is_no_false_alarm_while_a_consumer_works(kafka_bootstrap: str, fresh_database: str) -> None:
    """Events of numbered sources, one in fifty rejected, over all partitions and in small batches."""
    pipeline = Pipeline(kafka_bootstrap, fresh_database, batch_rows_max=40, flush_interval_seconds=0.05)
    published = threading.Event()

    def publish() -> None:
        for number in range(ROUNDS):
            for_good = [
                make_event(
                    account_id=f"acc_{index % 30}",
                    source=Source(
                        service="svc", instance_id="i", sequence=number * EVENTS_PER_ROUND + index + 1
                    ),
                )
                for index in range(EVENTS_PER_ROUND)
            ]
            pipeline.publish(for_good)
            pipeline.publish_raw([(f"acc_{index}".encode(), b"garbage") for index in range(6)])
        published.set()

    thread = threading.Thread(target=publish)
    checks = 0
    with pipeline.running():
        thread.start()
        while not published.is_set() or checks < 3:
            found = pipeline.report().findings
            assert [each for each in found if each.severity != "note"] == []
            checks += 1
        thread.join()
        pipeline.wait_until_caught_up()
    report = pipeline.check()
    assert report.findings == []
    assert (report.accepted, report.rejected) == (ROUNDS * EVENTS_PER_ROUND, ROUNDS * 6)
    pipeline.close()


def publish_in_transactions(pipeline: Pipeline, outcomes: str, count: int) -> None:
    """Publish `count` events in each of several transactions: c commits one, a aborts one."""
    producer = Producer(
        {
            "bootstrap.servers": pipeline.settings.kafka,
            "transactional.id": pipeline.topic,
            "partitioner": "murmur2_random",
            "log_level": 2,
        }
    )
    producer.init_transactions(30)
    for outcome in outcomes:
        producer.begin_transaction()
        for _ in range(count):
            producer.produce(pipeline.topic, encode(make_event().to_record()), b"acc_1")
        producer.flush(30)
        if outcome == "c":
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)


def test_offsets_without_a_message_are_counted_and_no_finding(pipeline: Pipeline) -> None:
    publish_in_transactions(pipeline, "cacaac", 5)
    with pipeline.running():
        pipeline.wait_until_caught_up()
    report = pipeline.report()
    assert report.findings == []
    assert report.accepted == 15
    assert report.absent >= 15 + 5, "three aborted transactions and the control records between the others"


def test_missing_rows_among_aborted_transactions_are_refilled(pipeline: Pipeline) -> None:
    from auditlog_consumer.repair import repair
    from auditlog_consumer.service import build_judge

    publish_in_transactions(pipeline, "caca", 5)
    pipeline.publish([make_event()])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    pipeline.connection.command(
        "ALTER TABLE audit_events DELETE WHERE kafka_offset IN (0, 1, 13)", settings={"mutations_sync": 2}
    )
    done = repair(pipeline.connection, pipeline.settings, build_judge(pipeline.settings), "tester")
    assert done.report.findings == []
    assert done.stored == 11 - (len(pipeline.stored_ids()) - done.stored)

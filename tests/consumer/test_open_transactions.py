"""A transaction that a publisher leaves open holds its partition: it is told, and all goes on after it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import pytest
import structlog

from auditlog_consumer import metrics, open_transactions
from auditlog_consumer.message_times import received_at
from kit.events import make_event
from kit.one_partition import OnePartition
from kit.pipeline import Pipeline
from kit.transactions import Transactions

pytestmark = pytest.mark.integration

SECONDS_MAX = 120.0
TOLD = "a transaction stays open, and nothing behind it can be read"


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def since(partition: int) -> float | None:
    name = f"{metrics.PREFIX}open_transaction_timestamp_seconds"
    return metrics.REGISTRY.get_sample_value(name, {"partition": str(partition)})


def alarms() -> float:
    found = metrics.REGISTRY.get_sample_value(f"{metrics.PREFIX}alarms_total", {"kind": "transaction_open"})
    assert found is not None
    return found


def test_one_that_stays_open_raises_an_alarm_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_transactions, "OPEN_SECONDS_MAX", 1.0)
    held, elsewhere = Transactions(pipeline), OnePartition(pipeline).partition.number
    pipeline.publish([make_event() for _ in range(3)])
    before = time.time()
    held.publish([make_event() for _ in range(4)], ends="later")
    pipeline.publish([make_event() for _ in range(5)])
    at_first = alarms()
    with structlog.testing.capture_logs() as logs, pipeline.running():
        wait_until(lambda: alarms() > at_first)
        began = since(elsewhere)
        assert began is not None
        assert before - 1 < began < time.time()
        # Others go on.
        pipeline.publish([make_event(account_id=f"acc_{number}") for number in range(2, 20)])
        wait_until(lambda: pipeline.lagging() == {elsewhere})
        time.sleep(1.5)
        assert alarms() == at_first + 1
        assert since(elsewhere) == began
        held.commit()
        pipeline.wait_until_caught_up()
        wait_until(lambda: since(elsewhere) is None)
    [line] = [line for line in logs if line["event"].startswith(TOLD)]
    assert line["first_offset"] == 3
    assert line["partition"] == f"{pipeline.topic}/{elsewhere}"
    assert "'a transaction left open'" in line["event"]
    assert sum(line["event"].startswith("no transaction holds") for line in logs) == 1
    report = pipeline.report()
    assert report.ok, report.findings
    assert (report.accepted, report.absent) == (30, 1)


def test_when_kafka_received_what_waits_is_known_though_it_is_not_decided(pipeline: Pipeline) -> None:
    number = OnePartition(pipeline).partition.number
    Transactions(pipeline).publish([make_event()], ends="later")
    assert abs(received_at(pipeline.settings, {number: 0}, 60.0)[number].timestamp() - time.time()) < 60


def test_kafka_ends_one_whose_producer_is_gone(pipeline: Pipeline) -> None:
    gone = Transactions(pipeline, timeout_seconds=1.0)
    gone.publish([make_event() for _ in range(4)], ends="later")
    pipeline.publish([make_event() for _ in range(5)])
    with pipeline.running():
        wait_until(lambda: since(OnePartition(pipeline).partition.number) is not None)
        pipeline.wait_until_caught_up()
    report = pipeline.report()
    assert report.ok, report.findings
    assert (report.accepted, report.absent) == (5, 4 + 1)


def test_a_producer_of_the_same_name_ends_it(pipeline: Pipeline) -> None:
    """What the runbook says of publishers that are started again."""
    name = uuid.uuid4().hex
    Transactions(pipeline, name=name, timeout_seconds=600.0).publish([make_event()], ends="later")
    pipeline.publish([make_event()])
    with pipeline.running():
        wait_until(lambda: since(OnePartition(pipeline).partition.number) is not None)
        Transactions(pipeline, name=name)
        pipeline.wait_until_caught_up()
    assert pipeline.report().accepted == 1


def test_transactions_that_follow_each_other_hold_nobody_for_long(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_transactions, "OPEN_SECONDS_MAX", 2.0)
    at_first = alarms()
    first, second = Transactions(pipeline), Transactions(pipeline)
    with pipeline.running():
        first.publish([make_event()], ends="later")
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            # One is always open, and none for long.
            second.publish([make_event()], ends="later")
            time.sleep(0.3)
            first.commit()
            first.publish([make_event()], ends="later")
            time.sleep(0.3)
            second.commit()
        first.commit()
        pipeline.wait_until_caught_up()
    assert alarms() == at_first
    assert pipeline.report().ok

"""Kafka and ClickHouse go away and come back under a running consumer: it waits, and nothing is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditlog_local.child import Child
from kit.consumer_process import consumer_process
from kit.events import make_event
from kit.pipeline import Pipeline
from kit.servers import own_clickhouse, own_kafka
from kit.stopwatch import Stopwatch

pytestmark = [pytest.mark.integration, pytest.mark.long]

OUTAGE_SECONDS = 20


@dataclass(frozen=True)
class Servers:
    """A Kafka and a ClickHouse of this module's own, to be killed."""

    kafka: Child
    clickhouse: Child
    kafka_address: str
    clickhouse_url: str

    def pipeline(self, database: str, session_seconds: float = 45.0) -> Pipeline:
        url = f"{self.clickhouse_url}/{database}"
        return Pipeline(self.kafka_address, url, session_timeout_seconds=session_seconds)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    directory = tmp_path_factory.mktemp("outages")
    with own_kafka(directory) as (kafka, address), own_clickhouse(directory) as (clickhouse, url):
        yield Servers(kafka, clickhouse, address, url)


@pytest.mark.parametrize("away", ["clickhouse", "kafka"])
def test_an_outage_of_20_seconds_loses_nothing(servers: Servers, away: str) -> None:
    pipeline = servers.pipeline(f"outage_{away}")
    child: Child = getattr(servers, away)
    events = [make_event(account_id=f"acc_{i % 20}") for i in range(2_000)]
    with pipeline.running():
        pipeline.publish(events[:1_000])
        pipeline.wait_until_caught_up()
        if away == "clickhouse":
            pipeline.publish(events[1_000:1_500])
        child.kill()
        child.stop()
        if away == "clickhouse":
            pipeline.publish(events[1_500:])
        time.sleep(OUTAGE_SECONDS)
        child.start()
        child.wait_ready()
        if away == "kafka":
            pipeline.publish(events[1_000:])
        pipeline.wait_until_caught_up(90)
    assert sorted(pipeline.stored_ids()) == sorted(event.event_id for event in events)
    assert pipeline.check().accepted == 2_000
    pipeline.close()


def test_a_consumer_that_is_killed_again_and_again_loses_and_doubles_nothing(
    servers: Servers, tmp_path: Path
) -> None:
    pipeline = servers.pipeline("killed", 6.0)
    events = [make_event(account_id=f"acc_{i % 20}") for i in range(6_000)]
    log = tmp_path / "consumer.log"
    for part in range(6):
        process = consumer_process(pipeline, log)
        pipeline.publish(events[part * 1_000 : part * 1_000 + 1_000])
        time.sleep(1.5 + 0.3 * part)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    process = consumer_process(pipeline, log)
    try:
        pipeline.wait_until_caught_up()
    finally:
        process.terminate()
        process.wait(60)
    assert process.returncode == 0, log.read_text()
    assert sorted(pipeline.stored_ids()) == sorted(event.event_id for event in events)
    assert pipeline.check().accepted == 6_000
    pipeline.close()


def test_sigterm_finishes_the_batch_under_way(servers: Servers, tmp_path: Path) -> None:
    pipeline = servers.pipeline("stopped", 6.0)
    pipeline.publish([make_event() for _ in range(2_000)])
    log = tmp_path / "consumer.log"
    process = consumer_process(pipeline, log)
    deadline = time.monotonic() + 120
    while b"started" not in log.read_bytes():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    process.terminate()
    watch = Stopwatch()
    assert process.wait(60) == 0, log.read_text()
    assert watch.seconds < 10
    report = pipeline.check()
    assert len(pipeline.stored_ids()) == report.accepted, "rows without a ledger row"
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert pipeline.check().accepted == 2_000
    pipeline.close()

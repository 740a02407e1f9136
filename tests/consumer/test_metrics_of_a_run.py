"""The metrics and the log lines of real consumers on real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from auditlog_local.ports import free_ports
from kit.events import make_event
from kit.pipeline import Pipeline
from kit.servers import bound

pytestmark = pytest.mark.integration


class Metrics:
    """What was scraped; samples by name and labels."""

    def __init__(self, port: int) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        self._samples = [one for family in text_string_to_metric_families(text) for one in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """The sum of all samples that have these labels and maybe others."""
        wanted = labels.items()
        return sum(
            one.value
            for one in self._samples
            if one.name == f"auditlog_consumer_{name}" and wanted <= one.labels.items()
        )


@contextmanager
def consumer(pipeline: Pipeline, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "AUDITLOG_KAFKA": pipeline.settings.kafka,
        "AUDITLOG_CLICKHOUSE_URL": pipeline.connection.settings.url.get_secret_value(),
        "AUDITLOG_TOPIC": pipeline.topic,
        "AUDITLOG_GROUP": pipeline.settings.group,
        "AUDITLOG_FLUSH_INTERVAL_SECONDS": "0.2",
        "AUDITLOG_METRICS_PORT": str(port),
    }
    with log.open("ab") as out:
        process = subprocess.Popen(
            bound(sys.executable, "-m", "auditlog_cli", "consume", "--log-json"), env=environment, stderr=out
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_run_is_counted_and_its_log_says_where(pipeline: Pipeline, tmp_path: Path) -> None:
    events = [make_event(account_id=f"acc_{number % 20}") for number in range(500)]
    pipeline.publish(events)
    pipeline.publish(events[:7])
    pipeline.publish_raw([(b"acc_1", b"nonsense")] * 3)
    (port,) = free_ports(1)
    log = tmp_path / "consumer.log"
    with consumer(pipeline, port, log):
        pipeline.wait_until_caught_up()
        deadline = time.monotonic() + 120
        # The gauges follow within a second, the ends of Kafka's log within five.
        while Metrics(port).sum("next_offset") < 510 or Metrics(port).sum("end_offset") < 510:
            assert time.monotonic() < deadline
            time.sleep(0.3)
        time.sleep(1.1)
        seen = Metrics(port)
    assert seen.sum("offsets_total") == 510
    assert seen.sum("offsets_total", verdict="accepted") == 500
    assert seen.sum("offsets_total", verdict="duplicate") == 7
    assert seen.sum("offsets_total", verdict="rejected", reason="undecodable") == 3
    assert seen.sum("lag_offsets") == 0
    assert (seen.sum("partitions"), seen.sum("partitions", state="recovering")) == (8, 0)
    assert seen.sum("epochs_begun_total", reason="assigned") == 8
    assert seen.sum("recovery_seconds_count") == 8
    batches = seen.sum("batches_total")
    assert batches >= 5
    for step in ("announce", "insert", "read_back", "ledger"):
        assert seen.sum("step_seconds_count", step=step) >= batches - 3, step
    assert seen.sum("step_seconds_count", step="dead_letter") >= 1
    assert seen.sum("alarms_total") == seen.sum("token_steps_total") == seen.sum("lost_offsets_total") == 0
    assert (seen.sum("held_bytes"), seen.sum("oldest_held_timestamp_seconds")) == (0, 0)
    assert time.time() - seen.sum("polled_timestamp_seconds") < 30
    assert seen.sum("info", topic=pipeline.topic, consumer_group=pipeline.settings.group) == 1
    for line in lines(log):
        if line["event"] in ("assigned", "started", "stored"):
            assert line["partition"].startswith(f"{pipeline.topic}/"), line
        if line["event"] == "stored":
            counts = sum(line[name] for name in ("accepted", "rejected", "duplicates", "absent"))
            assert line["last_offset"] - line["first_offset"] + 1 == counts


def test_what_waits_is_counted_and_says_which_range(pipeline: Pipeline, tmp_path: Path) -> None:
    """The table cannot be written for a while: its inserts fail, and wait."""
    (port,) = free_ports(1)
    log = tmp_path / "consumer.log"
    with consumer(pipeline, port, log):
        pipeline.publish([make_event()])
        pipeline.wait_until_caught_up()
        pipeline.connection.command("ALTER TABLE audit_ranges MODIFY SETTING parts_to_throw_insert = 1")
        pipeline.publish([make_event()])
        deadline = time.monotonic() + 120
        while not Metrics(port).sum("retries_total"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        seen = Metrics(port)
        pipeline.connection.command("ALTER TABLE audit_ranges RESET SETTING parts_to_throw_insert")
        pipeline.wait_until_caught_up()
    assert seen.sum("retries_total", doing="recording") == seen.sum("retries_total")
    waiting = [line for line in lines(log) if line["event"] == "waiting"]
    assert waiting
    for line in waiting:
        assert line["doing"] == "recording"
        assert line["partition"].startswith(f"{pipeline.topic}/")
        assert (line["first_offset"], line["last_offset"]) == (1, 1)

"""A batch waits for a schema when its consumer stops, is killed or loses the partition: nothing hangs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pytest

from auditlog_consumer import metrics
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import PARTITIONS
from kit.consumer_process import consumer_process
from kit.one_partition import OnePartition
from kit.registry_front import UNKNOWN_FROM, RegistryFront
from kit.schema_stage import SchemaStage
from kit.stopwatch import Stopwatch

pytestmark = [pytest.mark.integration, pytest.mark.long]

STOP_SECONDS: Final = 12.0
"""The consumer's `stop_seconds_max` and what else a stop takes."""


@pytest.fixture
def stage(
    registry_front: RegistryFront, kafka_bootstrap: str, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SchemaStage]:
    """A pipeline in which recovery waits 2 s at most for an announced insert."""
    monkeypatch.setattr(ConsumerSettings, "insert_seconds_max", property(lambda _: 1.0))
    made = SchemaStage(registry_front, kafka_bootstrap, fresh_database, session_timeout_seconds=6.0)
    yield made
    made.close()


def publish_what_waits(stage: SchemaStage) -> None:
    """Publish into each partition: 3 events that need no registry, 2 that do, and 2 behind them."""
    for number in range(PARTITIONS):
        stage.events(number, 3)
        stage.events(number, 2, stage.schema_id)
        stage.events(number, 2)


def until(happens: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def until_all_wait(stage: SchemaStage) -> None:
    for number in range(PARTITIONS):
        stage.until_recorded(number, 3)
    until(stage.front.asked.total, "nobody asks")


def require_end(stage: SchemaStage) -> None:
    """Bring the registry back, consume, and require everything."""
    stage.front.faults.clear()
    with stage.pipeline.running():
        for number in range(PARTITIONS):
            stage.until_recorded(number)
    stage.require_whole()


@pytest.mark.parametrize("fault", ["hang", "error"])
def test_a_stop_does_not_wait_for_the_registry(stage: SchemaStage, fault: str) -> None:
    publish_what_waits(stage)
    stage.front.faults[0] = fault
    with stage.pipeline.running():
        until_all_wait(stage)
        watch = Stopwatch()
    assert watch.seconds < STOP_SECONDS
    assert [stage.recorded(number) for number in range(PARTITIONS)] == [3] * PARTITIONS
    require_end(stage)


@pytest.mark.parametrize("ends_by", ["terminate", "kill"])
def test_a_process_that_ends_while_it_waits(stage: SchemaStage, tmp_path: Path, ends_by: str) -> None:
    publish_what_waits(stage)
    stage.front.faults[0] = "hang"
    log = tmp_path / "consumer.log"
    process = consumer_process(stage.pipeline, log)
    try:
        until_all_wait(stage)
    finally:
        watch = Stopwatch()
        getattr(process, ends_by)()
        code = process.wait(60)
    assert watch.seconds < STOP_SECONDS
    assert code == (0 if ends_by == "terminate" else -9), log.read_text()
    require_end(stage)


def test_partitions_change_hands_while_they_wait(stage: SchemaStage) -> None:
    publish_what_waits(stage)
    stage.front.faults[0] = "hang"
    revoked = metrics.EPOCHS_ENDED.labels("revoked")._value
    with stage.pipeline.running():
        until_all_wait(stage)
        before = revoked.get()
        with stage.pipeline.running():
            until(lambda: revoked.get() > before, "the second consumer gets nothing")
            assert [stage.recorded(number) for number in range(PARTITIONS)] == [3] * PARTITIONS
            stage.front.faults.clear()
            for number in range(PARTITIONS):
                stage.until_recorded(number, seconds_max=20)
            stage.front.faults[0] = "hang"
            publish_what_waits(stage)
        # The first one has all of them again.
        stage.front.faults.clear()
        for number in range(PARTITIONS):
            stage.until_recorded(number, seconds_max=20)
    stage.require_whole()


def some_of(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows.filter(pa.array([number % 3 != 1 for number in range(rows.num_rows)]))


@pytest.mark.parametrize("stored", [None, some_of], ids=["nothing is stored", "a part is stored"])
def test_an_announced_range_that_waits_stays_whole(
    stage: SchemaStage, stored: Callable[[pa.RecordBatch], pa.RecordBatch] | None
) -> None:
    one = OnePartition(stage.pipeline)
    waits, other = one.partition.number, (one.partition.number + 1) % PARTITIONS
    stage.events(waits, 5)
    stage.events(waits, 3, stage.schema_id)
    # More ids than are asked for at a time.
    stage.garbage(waits, range(UNKNOWN_FROM, UNKNOWN_FROM + 1_500))
    stage.events(waits, 20)
    last = stage.published(waits) - 11
    one.announce(one.intent(0, last))
    if stored is not None:
        one.insert(stored(one.rows(0, 12)), one.token(0, last))
    stage.front.faults[0] = "error"
    with stage.pipeline.running():
        for _ in range(3):
            stage.events(other, 5)
            stage.until_recorded(other)
        assert stage.recorded(waits) == 0, "what was announced is not cut"
        stage.front.faults.clear()
        stage.until_recorded(waits)
    ranges = one.ranges()
    assert (ranges[0].first_offset, ranges[0].last_offset) == (0, last)
    assert ranges[0].rejected == 1_500
    stage.require_whole()

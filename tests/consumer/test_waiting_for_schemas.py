"""Messages that wait for their schemas hold up neither other partitions nor the messages before them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median
from typing import Any, Final
from uuid import uuid4

import pytest

from auditlog_consumer import metrics, stopped
from auditlog_consumer.topics import PARTITIONS
from auditlog_schemas.codec import EVENT_SCHEMA
from auditlog_schemas.registry import SchemaRegistry
from auditlog_schemas.resolution import Schema
from kit.registry_front import UNKNOWN_FROM, RegistryFront
from kit.schema_stage import SchemaStage, register
from kit.stopwatch import Stopwatch

pytestmark = [pytest.mark.integration, pytest.mark.long]

SOON_SECONDS: Final = 4.0
"""For what takes about a second on a machine with nothing else to do; registries stay away for longer."""
AWAY_SECONDS: Final = 6.0
WAITS, OTHER, MIXED = 0, 1, 2


@pytest.fixture
def stage(registry_front: RegistryFront, kafka_bootstrap: str, fresh_database: str) -> Iterator[SchemaStage]:
    made = SchemaStage(registry_front, kafka_bootstrap, fresh_database)
    yield made
    made.close()


def take_away(front: RegistryFront, how: str) -> None:
    if how == "stopped":
        front.stop()
    else:
        front.faults[0] = how


def bring_back(front: RegistryFront) -> None:
    if not front.faults:
        front.start()
    front.faults.clear()


def alarms() -> float:
    return float(metrics.ALARMS.labels("partition_stopped")._value.get())


@pytest.mark.parametrize("how", ["stopped", "hang", "error", "login page"])
def test_while_the_registry_is_away_only_what_needs_it_waits(stage: SchemaStage, how: str) -> None:
    before = alarms()
    stage.events(WAITS, 10)
    stage.events(WAITS, 5, stage.schema_id)
    stage.events(WAITS, 10)
    stage.events(OTHER, 20)
    take_away(stage.front, how)
    with stage.pipeline.running():
        stage.until_recorded(OTHER)
        stage.until_recorded(WAITS, 10)
        began = time.monotonic()
        while time.monotonic() < began + AWAY_SECONDS:
            # In one batch, in the partition where nothing waits yet and in one where nothing ever does.
            if not stage.published(MIXED):
                stage.events(MIXED, 10)
                stage.events(MIXED, 1, stage.schema_id)
            stage.events(MIXED, 1)
            stage.events(OTHER, 5)
            stage.until_recorded(OTHER, seconds_max=SOON_SECONDS)
            stage.until_recorded(MIXED, 10, seconds_max=SOON_SECONDS)
        assert (stage.recorded(WAITS), stage.recorded(MIXED)) == (10, 10)
        assert not stage.pipeline.dead_letters()
        bring_back(stage.front)
        # What hangs is given up after 5 s, and pauses last 5 s at most.
        stage.until_recorded(WAITS, seconds_max=15)
        stage.until_recorded(MIXED, seconds_max=15)
    stage.require_whole()
    assert alarms() == before


def test_five_thousand_unknown_ids_hold_up_nobody(stage: SchemaStage) -> None:
    stage.events(WAITS, 10)
    stage.garbage(WAITS, range(UNKNOWN_FROM, UNKNOWN_FROM + 5_000))
    stage.events(WAITS, 1, stage.schema_id)
    stage.events(OTHER, 1)
    stage.front.latency_seconds = 0.007
    took: list[float] = []
    with stage.pipeline.running():
        stage.until_recorded(OTHER)
        stage.until_recorded(WAITS, 10, seconds_max=SOON_SECONDS)
        while stage.recorded(WAITS) < 5_000:
            stage.events(OTHER, 3)
            stage.events(MIXED, 1, stage.schema_id)
            took += [stage.until_recorded(OTHER, seconds_max=SOON_SECONDS)]
            took += [stage.until_recorded(MIXED, seconds_max=SOON_SECONDS)]
        stage.until_recorded(WAITS)
    assert len(took) > 4, "it took no time to wait in"
    assert median(took) < 1
    stage.require_whole()
    letters = stage.pipeline.dead_letters()
    assert len(letters) == 5_000
    assert {letter.rule for letter in letters} == {"unknown_schema_id"}
    assert max(stage.front.asked[each] for each in range(UNKNOWN_FROM, UNKNOWN_FROM + 5_000)) == 1


def test_a_flood_in_every_partition_ends_and_each_gets_its_turn(stage: SchemaStage) -> None:
    for number in range(PARTITIONS):
        stage.events(number, 2)
        stage.garbage(number, range(UNKNOWN_FROM + 1_000 * number, UNKNOWN_FROM + 1_000 * number + 600))
        stage.events(number, 1, stage.schema_id)
        stage.events(number, 2)
    # The same ids in two partitions.
    stage.garbage(1, range(UNKNOWN_FROM, UNKNOWN_FROM + 600))
    stage.front.latency_seconds = 0.007
    ended: dict[int, float] = {}
    with stage.pipeline.running():
        for number in range(PARTITIONS):
            stage.until_recorded(number, 2)
        watch = Stopwatch()
        while len(ended) < PARTITIONS:
            for number in set(range(PARTITIONS)) - ended.keys():
                if stage.recorded(number) == stage.published(number):
                    ended[number] = watch.seconds
            time.sleep(0.2)
            assert watch.seconds < 60, f"only {sorted(ended)} are through"
    stage.require_whole()


def newer_schema() -> Schema:
    """Return a schema that no registry has yet; its values end with one byte more."""
    field = {"name": f"shard_{uuid4().hex}", "type": "int", "default": 0}
    return EVENT_SCHEMA | {"fields": [*EVENT_SCHEMA["fields"], field]}


def test_an_id_that_is_registered_a_moment_later_is_known_a_second_later(stage: SchemaStage) -> None:
    """Messages that name it come all the time; only those from before may be rejected."""
    url = stage.front.registry_url
    schema_id = register(url, f"{stage.pipeline.topic}-before", newer_schema()) + 1
    stage.events(OTHER, 1)
    with stage.pipeline.running():
        stage.until_recorded(OTHER)
        began = time.monotonic()
        while time.monotonic() < began + 2:
            stage.garbage(WAITS, [schema_id])
            stage.until_recorded(WAITS, seconds_max=SOON_SECONDS)
        assert register(url, f"{stage.pipeline.topic}-value", newer_schema()) == schema_id
        time.sleep(1.1)
        for _ in range(10):
            stage.events(WAITS, 1, schema_id, more=b"\x0e")
            stage.until_recorded(WAITS, seconds_max=SOON_SECONDS)
    stage.require_whole()


@pytest.fixture
def small(
    registry_front: RegistryFront, kafka_bootstrap: str, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SchemaStage]:
    """A pipeline with room for 4 MiB of messages: a sixteenth of it is 256 KiB."""
    monkeypatch.setattr(stopped, "PAUSE_SECONDS_MIN", 0.5)
    limits: dict[str, Any] = {"buffered_bytes_max": 4 << 20, "batch_bytes_max": 1 << 20}
    made = SchemaStage(registry_front, kafka_bootstrap, fresh_database, **limits)
    yield made
    made.close()


@pytest.mark.parametrize("waiting", [(0, 3), tuple(range(7))])
def test_memory_that_is_full_of_what_waits_is_given_to_the_others(
    small: SchemaStage, waiting: tuple[int, ...]
) -> None:
    """Each partition has 3 MB. Seven that wait cannot hold all that they read, and are stopped by turns."""
    stage, others, before = small, set(range(PARTITIONS)) - set(waiting), alarms()
    for number in range(PARTITIONS):
        stage.events(number, 2)
        if number in waiting:
            stage.events(number, 1, stage.schema_id)
        stage.events(number, 300, size=10_000)
    stage.front.stop()
    with stage.pipeline.running():
        for number in waiting:
            stage.until_recorded(number, 2)
        for number in others:
            stage.until_recorded(number, seconds_max=30)
        for _ in range(5):
            stage.events(max(others), 50, size=10_000)
            stage.until_recorded(max(others), seconds_max=SOON_SECONDS)
            # Of 24 MB; on a busy machine what is being judged and stored comes on top of the 4 MiB.
            assert metrics.HELD_BYTES._value.get() < 12 << 20
        assert len(waiting) < 7 or alarms() > before
        assert [stage.recorded(number) for number in waiting] == [2] * len(waiting)
        stage.front.start()
        for number in waiting:
            stage.until_recorded(number, seconds_max=30)
    stage.require_whole()


def test_a_partition_that_waits_at_its_end_takes_no_turn_from_a_backlog(small: SchemaStage) -> None:
    """It holds less than a batch and more than a little, and nothing more comes."""
    stage = small
    stage.events(WAITS, 1, stage.schema_id)
    stage.events(OTHER, 1)
    stage.front.stop()
    with stage.pipeline.running():
        stage.until_recorded(OTHER)
        time.sleep(2)
        stage.events(WAITS, 60, size=10_000)
        time.sleep(2)
        for _ in range(3):
            stage.events(OTHER, 300, size=10_000)
            stage.until_recorded(OTHER, seconds_max=15)
        assert stage.recorded(WAITS) == 0
        stage.front.start()
        stage.until_recorded(WAITS, seconds_max=15)
    stage.require_whole()


def test_a_lookup_that_fails_as_nobody_foresaw_stops_its_partition_only(
    stage: SchemaStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopped, "PAUSE_SECONDS_MIN", 0.2)
    broken_id, broken, ask = stage.schema_id, [True], SchemaRegistry.schema_by_id

    def failing(self: SchemaRegistry, schema_id: int) -> Schema | None:
        if broken[0] and schema_id == broken_id:
            raise ZeroDivisionError("nobody foresaw it")
        return ask(self, schema_id)

    monkeypatch.setattr(SchemaRegistry, "schema_by_id", failing)
    before = alarms()
    stage.events(WAITS, 10)
    stage.events(WAITS, 1, broken_id)
    with stage.pipeline.running():
        stage.until_recorded(WAITS, 10)
        for _ in range(3):
            stage.garbage(OTHER, [UNKNOWN_FROM])
            stage.events(OTHER, 5)
            stage.until_recorded(OTHER, seconds_max=SOON_SECONDS)
        while alarms() < before + 2:
            stage.pipeline.raise_failure()
            time.sleep(0.05)
        assert stage.recorded(WAITS) == 10
        broken[0] = False
        stage.until_recorded(WAITS, seconds_max=15)
    stage.require_whole()

"""The oracle finds what was spoilt in a state that was right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from auditlog_consumer.acknowledged import Outgoing
from auditlog_storage.ledger import Range
from simulated.clickhouse_model import EngineModel, StoredRow
from simulated.crew import TOPIC_ID
from simulated.kafka_model import KafkaModel
from simulated.oracle import Oracle
from simulated.payloads import Payload, payloads
from simulated.quiet_logs import silent_logs
from simulated.scenario import Published, Scenario
from simulated.weather import FOCUSES, Weather
from simulated.world import World


@pytest.fixture
def world() -> World:
    """A quiet day with good and bad messages, duplicates and gaps, run to its end."""
    good, bad = payloads("good"), payloads("bad")
    messages: list[Payload | None] = [*good[:6], bad[1], None, good[2], *good[6:12], bad[0]]
    published = tuple(Published(0.0, 0, each, gap=0 if each else 2) for each in messages)
    scenario = replace(Scenario.drawn(0), weather=Weather(), partitions=1, window=20, buffered_bytes=1 << 26)
    world = World(replace(scenario, published=published))
    with silent_logs():
        tally = world.run().tally
    assert min(tally.accepted, tally.rejected, tally.duplicates, tally.absent) > 0
    return world


def examined(world: World) -> str:
    return "; ".join(Oracle(world.scenario, world.kafka, world.engine, world.published).examine())


def rows(engine: EngineModel) -> list[StoredRow]:
    return engine.rows[TOPIC_ID, 0]


def change_last_range(engine: EngineModel, change: Callable[[Range], Range | None]) -> None:
    key = max(engine.ledger, key=lambda each: each[2])
    changed = change(engine.ledger.pop(key))
    if changed is not None:
        engine.ledger[key[0], key[1], changed.first_offset] = changed


def drop_letters(kafka: KafkaModel) -> None:
    kafka.letters.clear()


SPOILT: dict[str, tuple[Callable[[World], object], str]] = {
    "a row lost": (lambda world: rows(world.engine).pop(), "neither stored, nor dead-lettered"),
    "a row twice": (lambda world: rows(world.engine).append(rows(world.engine)[0]), "is stored 2 times"),
    "a row beyond the end": (
        lambda world: rows(world.engine).append(rows(world.engine)[0]._replace(kafka_offset=5_000)),
        "beyond the ledger's end",
    ),
    "another event": (
        lambda world: rows(world.engine).__setitem__(0, rows(world.engine)[0]._replace(event_id=bytes(16))),
        "another event is stored there",
    ),
    "letters lost": (lambda world: drop_letters(world.kafka), "neither stored, nor dead-lettered"),
    "a letter of a good message": (
        lambda world: world.kafka.letters.append(
            Outgoing(f"{TOPIC_ID}/0/{rows(world.engine)[0].kafka_offset}".encode(), b"")
        ),
        "a good message is dead-lettered",
    ),
    "a range lost": (lambda world: change_last_range(world.engine, lambda _: None), "the ledger ends at"),
    "a range elsewhere": (
        lambda world: change_last_range(
            world.engine,
            lambda each: replace(each, first_offset=each.first_offset + 1, last_offset=each.last_offset + 1),
        ),
        "the ledger goes from",
    ),
    "a count wrong": (
        lambda world: change_last_range(
            world.engine,
            lambda each: replace(
                each, absent=each.last_offset - each.first_offset + 1, accepted=0, rejected=0, duplicates=0
            ),
        ),
        "is recorded as",
    ),
}


def test_what_is_right_is_called_right(world: World) -> None:
    assert examined(world) == ""


@pytest.mark.parametrize("name", SPOILT)
def test_what_was_spoilt_is_found(name: str, world: World) -> None:
    spoil, message = SPOILT[name]
    spoil(world)
    assert message in examined(world)


def test_every_kind_of_weather_is_some_kind_of_bad() -> None:
    assert all(weather != Weather() for weather in FOCUSES.values())

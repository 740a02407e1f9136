"""Questions to one real registry that is slow, broken or away: who waits for whom, and for how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any, TypeAlias

import pytest

from auditlog_schemas.codec import EVENT_SCHEMA
from auditlog_schemas.plan import Record
from auditlog_schemas.registry import SchemaRegistry
from auditlog_schemas.schema_ids import UNKNOWN, UNKNOWN_ID_SECONDS, SchemaIds, Unusable
from auditlog_schemas.schema_lookups import LOOKUPS_AT_ONCE, SchemaLookups
from kit.registry_front import FAULTS, UNKNOWN_FROM, RegistryFront
from kit.registry_server import RegistryServer

pytestmark = [pytest.mark.integration, pytest.mark.long]

Answered: TypeAlias = "Future[dict[int, Any]]"
TIMEOUT_SECONDS = 1.0
SECONDS_MAX = 60.0


class Asking:
    """Lookups through a front, with what they told of trouble."""

    def __init__(self, front: RegistryFront) -> None:
        self.registry = SchemaRegistry(front.url, timeout_seconds=TIMEOUT_SECONDS)
        self.ids = SchemaIds(self.registry, EVENT_SCHEMA)
        self.trouble: list[tuple[str, float]] = []
        self.lookups = SchemaLookups(
            self.ids, lambda error, seconds: self.trouble.append((str(error), seconds))
        )
        self.ask = self.lookups.ask

    def close(self) -> None:
        self.lookups.close()
        self.registry.close()


@pytest.fixture
def asking(registry_front: RegistryFront) -> Iterator[Asking]:
    asking = Asking(registry_front)
    yield asking
    asking.close()


@pytest.fixture(scope="module")
def register(registry_server: RegistryServer) -> Iterator[Callable[[str, Any], int]]:
    registry = SchemaRegistry(registry_server.url, timeout_seconds=SECONDS_MAX)
    yield registry.register
    registry.close()


@pytest.fixture(scope="module")
def usable(register: Callable[[str, Any], int]) -> int:
    return register("lookups-value", EVENT_SCHEMA)


def unknown(count: int, first: int = 0) -> range:
    return range(UNKNOWN_FROM + first, UNKNOWN_FROM + first + count)


def seconds_until(done: Answered) -> float:
    began = time.monotonic()
    wait_for([done], SECONDS_MAX)
    assert done.done()
    return time.monotonic() - began


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_id_of_a_question_gets_its_answer(
    asking: Asking, usable: int, register: Callable[[str, Any], int]
) -> None:
    other = register("other-value", "string")
    found = asking.ask([usable, UNKNOWN_FROM, other, usable]).result(SECONDS_MAX)
    assert sorted(found) == sorted([usable, other, UNKNOWN_FROM])
    assert isinstance(found[usable], Record)
    assert found[UNKNOWN_FROM] is UNKNOWN
    incompatible = found[other]
    assert isinstance(incompatible, Unusable)
    assert incompatible.rule == "schema_incompatible"


def test_what_is_known_is_answered_at_once_and_without_threads(
    asking: Asking, registry_front: RegistryFront, usable: int
) -> None:
    plan = asking.ids.ask(usable)
    before = threading.active_count()
    assert asking.ask([usable]).result(0) == {usable: plan}
    assert asking.ask([]).result(0) == {}
    assert threading.active_count() == before
    assert registry_front.asked == {usable: 1}


def test_an_id_that_many_ask_for_costs_one_request(asking: Asking, registry_front: RegistryFront) -> None:
    registry_front.latency_seconds = 0.2
    questions = [asking.ask([UNKNOWN_FROM, UNKNOWN_FROM + 1 + number]) for number in range(20)]
    for question in questions:
        assert question.result(SECONDS_MAX)[UNKNOWN_FROM] is UNKNOWN
    assert set(registry_front.asked.values()) == {1}


def test_five_thousand_ids_of_one_hold_up_nobody_else(asking: Asking, registry_front: RegistryFront) -> None:
    registry_front.latency_seconds = 0.007
    flood = asking.ask(unknown(5_000))
    until(lambda: registry_front.asked.total() > 50)
    for number in range(10):
        assert seconds_until(asking.ask(unknown(1, 10_000 + number))) < 1
    assert not flood.done()
    assert 1 < registry_front.together <= LOOKUPS_AT_ONCE
    flood.cancel()
    time.sleep(0.2)
    asked = registry_front.asked.total()
    assert seconds_until(asking.ask(unknown(1, 20_000))) < 1
    assert registry_front.asked.total() == asked + 1


def test_a_flood_is_answered_in_full(asking: Asking, registry_front: RegistryFront) -> None:
    registry_front.latency_seconds = 0.007
    flood = asking.ask(unknown(1_000))
    seconds_until(flood)
    assert flood.result() == dict.fromkeys(unknown(1_000), UNKNOWN)
    assert set(registry_front.asked.values()) == {1}


def test_while_the_registry_is_away_it_is_asked_less_and_less_and_then_everything_is_answered(
    asking: Asking, registry_front: RegistryFront, usable: int
) -> None:
    registry_front.stop()
    questions = [asking.ask([usable, *unknown(500)]) for _ in range(3)]
    time.sleep(3)
    assert not any(question.done() for question in questions)
    # Of each question at most eight at the start, and then one after 0.2, 0.4, 0.8 ... seconds.
    assert 5 <= len(asking.trouble) <= 3 * (LOOKUPS_AT_ONCE + 5)
    pauses = [seconds for _, seconds in asking.trouble]
    assert max(pauses) > 3 * min(pauses)
    assert registry_front.url in asking.trouble[0][0]
    registry_front.start()
    for question in questions:
        assert len(question.result(SECONDS_MAX)) == 501


@pytest.mark.parametrize("fault", [*FAULTS, "drop", "hang"])
def test_an_id_that_cannot_be_had_holds_up_its_own_question_only(
    asking: Asking, registry_front: RegistryFront, usable: int, fault: str
) -> None:
    registry_front.faults = {usable: fault}
    waiting = asking.ask([usable, *unknown(30)])
    for number in range(5):
        assert seconds_until(asking.ask(unknown(1, 100 + number))) < TIMEOUT_SECONDS
    until(lambda: all(registry_front.asked[schema_id] for schema_id in unknown(30)))
    until(lambda: bool(asking.trouble))
    assert not waiting.done()
    registry_front.faults = {}
    assert isinstance(waiting.result(SECONDS_MAX)[usable], Record)
    assert waiting.result()[UNKNOWN_FROM] is UNKNOWN


def test_nothing_is_asked_for_those_who_gave_up(asking: Asking, registry_front: RegistryFront) -> None:
    registry_front.faults = {0: "error"}
    given_up = [asking.ask(unknown(100, 1_000 * number)) for number in range(5)]
    until(lambda: len(asking.trouble) > 5)
    for question in given_up:
        assert question.cancel()
    registry_front.faults = {}
    until(lambda: not asking.lookups._questions)
    asked = registry_front.asked.total()
    time.sleep(1)
    assert registry_front.asked.total() == asked
    assert seconds_until(asking.ask(unknown(1, 90_000))) < 1


def test_a_schema_that_is_registered_a_moment_later_is_found_a_moment_later(
    asking: Asking, registry_front: RegistryFront, usable: int
) -> None:
    registry_front.forgotten = {usable}
    assert asking.ask([usable]).result(SECONDS_MAX) == {usable: UNKNOWN}
    registry_front.forgotten = set()
    began = time.monotonic()
    until(lambda: isinstance(asking.ask([usable]).result(SECONDS_MAX)[usable], Record))
    assert time.monotonic() - began < UNKNOWN_ID_SECONDS + 1
    assert registry_front.asked[usable] == 2


def test_a_registry_that_forgot_what_it_knew_is_waited_for(
    asking: Asking, registry_front: RegistryFront, usable: int
) -> None:
    assert isinstance(asking.ask([usable]).result(SECONDS_MAX)[usable], Record)
    registry_front.forgotten = {usable}
    waiting = asking.ask(unknown(100))
    until(lambda: len(asking.trouble) > LOOKUPS_AT_ONCE)
    assert not waiting.done()
    registry_front.forgotten = set()
    assert waiting.result(SECONDS_MAX) == dict.fromkeys(unknown(100), UNKNOWN)


def test_what_nobody_thought_of_ends_the_question_with_it(
    asking: Asking, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = asking.ids.ask

    def broken(schema_id: int) -> Any:
        if schema_id % 3 == 0:
            raise ZeroDivisionError
        return known(schema_id)

    monkeypatch.setattr(asking.ids, "ask", broken)
    with pytest.raises(ZeroDivisionError):
        asking.ask(unknown(300)).result(SECONDS_MAX)
    monkeypatch.undo()
    assert seconds_until(asking.ask(unknown(9, 1_000))) < 5


def test_closed_lookups_wait_for_nothing(asking: Asking, registry_front: RegistryFront) -> None:
    registry_front.faults = {0: "hang"}
    waiting = asking.ask(unknown(10))
    until(lambda: registry_front.together == LOOKUPS_AT_ONCE)
    began = time.monotonic()
    asking.lookups.close()
    assert waiting.cancelled()
    assert asking.ask(unknown(1)).cancelled()
    assert time.monotonic() - began < 0.5

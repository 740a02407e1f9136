"""Which batches are taken: the oldest first, and none for its age alone that would only wait."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

import pytest

from auditlog_consumer import batch as batch_module
from auditlog_consumer.assignment import Assigned
from auditlog_consumer.batch import BatchLimits, Collector
from auditlog_consumer.consumer import Consumer
from auditlog_consumer.judge import Judged, Verdicts
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Epoch, Partition
from auditlog_consumer.runtime import Threads
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.start import Start
from kit.kafka_message import FakeMessage

P = ParamSpec("P")
T = TypeVar("T")
TOPIC_ID = UUID(int=1)
LIMITS = BatchLimits(rows_max=100, bytes_max=1_000_000, age_seconds_max=1.0, backlog_age_seconds_max=4.0)


class StoppedPool:
    """Takes work and does not do it before the test says so."""

    def __init__(self) -> None:
        self.work: list[Future[Any]] = []

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:  # noqa: ARG002
        future = Future[T]()
        self.work.append(future)
        return future

    def shutdown(self) -> None:
        pass


class StoppedRuntime(Threads):
    def __init__(self) -> None:
        self.seconds = 100.0
        self.pools: dict[str, StoppedPool] = {}

    def monotonic(self) -> float:
        return self.seconds

    def pool(self, threads: int, name: str) -> StoppedPool:  # noqa: ARG002
        return self.pools.setdefault(name, StoppedPool())


@dataclass
class Stage:
    """A consumer with so many partitions, each read to its end."""

    partitions: int
    threads: int
    runtime: StoppedRuntime = field(default_factory=StoppedRuntime)

    def __post_init__(self) -> None:
        settings = ConsumerSettings.load(kafka="nowhere:1", storing_threads=self.threads)
        nothing = cast(Any, SimpleNamespace(store=None, judge_part=None, start=None))
        self.consumer = Consumer(
            settings, TOPIC_ID, nothing, nothing, nothing, nothing, nothing, self.runtime
        )
        for number in range(self.partitions):
            partition = Partition("audit.events", TOPIC_ID, number)
            start = cast(Start, SimpleNamespace(offset=0, replay=None))
            collector = Collector(partition, 0, LIMITS)
            self.consumer._assigned[number] = Assigned(
                partition, Epoch(self.runtime.flag()), start, collector, paused=False
            )

    def bring(self, number: int, count: int = 1) -> None:
        collector = self.consumer._assigned[number].collector
        assert collector is not None
        first = collector.next_offset + collector.offsets
        collector.add(
            Messages.of([FakeMessage(first + place) for place in range(count)]), self.runtime.seconds
        )
        collector.reach(first + count, self.runtime.seconds)

    def go(self, seconds: float = 0.0) -> None:
        self.runtime.seconds += seconds
        self.consumer._flow.move()

    def end(self, name: str) -> None:
        """Let everything that was given to a pool succeed."""
        result = Judged(cast(Verdicts, SimpleNamespace())) if name == "judging" else None
        for future in self.runtime.pools[name].work:
            if not future.done():
                future.set_result(result)

    @property
    def taken(self) -> list[int]:
        return [number for number, one in self.consumer._assigned.items() if one.judging or one.storing]


@pytest.fixture(autouse=True)
def _without_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "SPREAD_MIN", 1.0)


def test_no_more_small_batches_are_taken_than_can_be_stored_and_the_oldest_first() -> None:
    stage = Stage(partitions=4, threads=2)
    for number in (3, 1, 0, 2):
        stage.bring(number)
        stage.go(0.01)
    stage.go(2.0)
    assert stage.taken == [1, 3]
    stage.end("judging")
    stage.go()
    assert stage.taken == [1, 3], "they are being stored, and nobody has room"
    stage.end("storing")
    for assigned in stage.consumer._assigned.values():
        assigned.storing = None
    stage.go()
    assert stage.taken == [0, 2]


def test_a_small_batch_grows_while_the_one_before_it_is_stored() -> None:
    stage = Stage(partitions=1, threads=4)
    stage.bring(0)
    stage.go(2.0)
    stage.end("judging")
    stage.go()
    stage.bring(0)
    stage.go(2.0)
    assigned = stage.consumer._assigned[0]
    assert assigned.judging is None
    stage.bring(0, 100)
    stage.go()
    assert assigned.judging is not None, "it is full: judging goes on while the last one is stored"


def test_a_full_batch_is_judged_whoever_is_busy() -> None:
    stage = Stage(partitions=3, threads=1)
    stage.bring(0)
    stage.go(2.0)
    stage.bring(1, 100)
    stage.bring(2)
    stage.go(2.0)
    assert stage.taken == [0, 1]


def test_a_small_batch_does_not_wait_for_ever() -> None:
    stage = Stage(partitions=2, threads=1)
    stage.bring(0)
    stage.go(2.0)
    stage.bring(1)
    stage.go(3.9)
    assert stage.taken == [0]
    stage.go(0.2)
    assert stage.taken == [0, 1]

"""One seed, run: both models, the consumers, what befalls them all, and the examination at the end."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from auditlog_consumer.stopped import PAUSE_SECONDS_MAX
from simulated.clickhouse_model import EngineModel
from simulated.crew import TOPIC_ID, Crew
from simulated.kafka_model import KafkaModel
from simulated.kernel import Hung, Kernel, Trace
from simulated.network import Network, Server
from simulated.oracle import Oracle, Tally
from simulated.payloads import PASSED, Payload
from simulated.scenario import Published, Scenario

QUIET_SESSIONS_MAX: Final = 24
"""After the chaos everything must be caught up within so many session timeouts."""


class Violation(AssertionError):
    """The protocol did not keep its promise."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed that went well."""

    seed: int
    tally: Tally
    simulated_seconds: float
    kills: int
    starts: int
    refused: int
    turned_away: int


class World:
    """Everything of one seed."""

    def __init__(self, scenario: Scenario, trace: Trace | None = None) -> None:
        self.scenario = scenario
        self.kernel = Kernel(scenario.seed, trace)
        # Calmed down later: a copy.
        self.weather = scenario.weather.copy()
        self.network = Network(self.kernel, self.weather, scenario)
        self.engine = EngineModel(self.kernel, scenario)
        self.kafka = KafkaModel(self.kernel, self.network, TOPIC_ID, scenario)
        self.crew = Crew(scenario, self.kernel, self.network, self.kafka, self.engine)
        self.network.expire = self._expire
        self.published: list[dict[int, Payload]] = [{} for _ in range(scenario.partitions)]

    def run(self) -> Outcome:
        """Run the seed to its end.

        Raises:
            Violation: what the oracle found, or what a consumer ended with.
            Hung: it was not caught up in time after everything had come right.
        """
        for each in self.scenario.published:
            self._at(each.seconds, partial(self._publish, each))
        self._schedule()
        self.crew.start_all()
        self.kernel.run(lambda: False, self.scenario.chaos_seconds)
        self._clear_up()
        quiet_seconds = QUIET_SESSIONS_MAX * self.scenario.session_seconds
        self._run_until_caught_up(quiet_seconds)
        if self.kafka.refused:
            self.kernel.trace("operator", "MENDS what refused letters")
            self.kafka.refused.clear()
            self._run_until_caught_up(quiet_seconds + PAUSE_SECONDS_MAX)
        # What was on its way all the time must change nothing any more.
        self.kernel.run(lambda: False, self.scenario.straggle_seconds_max)
        if self.crew.terminal:
            raise Violation(f"a consumer ended: {self.crew.terminal}")
        if len(self.crew.began) > 1:
            raise Violation(f"several groups store the topic: {sorted(self.crew.began)}")
        oracle = Oracle(self.scenario, self.kafka, self.engine, self.published)
        if found := oracle.examine():
            raise Violation("; ".join(found))
        crew = self.crew
        return Outcome(
            self.scenario.seed,
            oracle.tally,
            self.kernel.now,
            crew.kills,
            crew.starts,
            crew.refused,
            crew.turned_away,
        )

    def _run_until_caught_up(self, seconds: float) -> None:
        if not self.kernel.run(self._is_caught_up, seconds):
            raise Hung(f"not caught up {seconds:.0f} s after the chaos: {self._behind()}")

    def _publish(self, each: Published) -> None:
        if each.passed:
            first = self.kafka.append_passed(each.partition, each.passed)
            self.published[each.partition] |= dict.fromkeys(range(first, first + each.passed), PASSED)
        elif each.payload is None:
            self.kafka.append_gap(each.partition, each.gap)
        else:
            key = each.payload.account_id.encode() or None
            offset = self.kafka.append(each.partition, key, each.payload.value)
            self.published[each.partition][offset] = each.payload

    def _schedule(self) -> None:
        draw, weather, chaos = self.kernel.random, self.weather, self.scenario.chaos_seconds
        befalls: list[tuple[int, Callable[[], None]]] = [
            (weather.engine_crashes, lambda: self._crash_engine(draw.random() * 2)),
            (weather.engine_outages, lambda: self._crash_engine(draw.uniform(1, 15))),
            (weather.broker_outages, lambda: self._outage(self.kafka, draw.uniform(1, 12))),
            (weather.operator_resets, self._operate),
            (weather.retention, self._expire),
            (weather.clock_jumps, self._set_clock),
        ]
        for times, befall in befalls:
            for _ in range(times):
                self._at(draw.random() * chaos, befall)

    def _at(self, seconds: float, action: Callable[[], None]) -> None:
        self.kernel.at(seconds, action)

    def _crash_engine(self, seconds: float) -> None:
        self.engine.crash()
        self._outage(self.engine, seconds)

    def _outage(self, server: Server, seconds: float) -> None:
        self.kernel.trace(server.name, f"DOWN for {seconds:.2f} s")
        server.go_down()
        incarnation = server.incarnation
        self._at(seconds, lambda: server.come_up() if server.incarnation == incarnation else None)

    def _operate(self) -> None:
        """Stop everybody, wait until the group is empty, spoil its offsets, start everybody."""
        if self.crew.held_back:
            return
        self.crew.held_back = True
        self.kernel.trace("operator", "KILLS ALL, to change the group's offsets")
        overlooks = self.kernel.random.random() < 0.7
        self.crew.kill_all(but_paused=overlooks)

        def go_on() -> None:
            if self.kafka.members:
                self.crew.kill_all(but_paused=overlooks)
                self._at(1.0, go_on)
                return
            offset = self.kernel.random.choice((None, 0, 0, 1_000_000))
            self.kernel.trace("operator", f"SETS the group's offsets to {offset}")
            assert self.kafka.reset_group(offset, self.kernel.random.choice(("", "{}", "not an intent")))
            self.crew.held_back = False
            self.crew.start_all()

        # What they have announced may still be inserted: docs/simulation.md says how long to wait.
        self._at(self.scenario.session_seconds, go_on)

    def _expire(self) -> None:
        partition = self.kernel.random.randrange(len(self.kafka.logs))
        log = self.kafka.logs[partition]
        log.delete_before(self.kernel.random.randint(log.low, log.high))
        self.kernel.trace("Kafka", f"retention: partition {partition} starts at {log.low}")

    def _set_clock(self) -> None:
        self.engine.clock_error += timedelta(seconds=self.kernel.random.uniform(0.1, 60))
        self.kernel.trace("ClickHouse", f"CLOCK set forward, {self.engine.clock_error} ahead")

    def _clear_up(self) -> None:
        """Let everything work from now on."""
        self.kernel.trace("", "QUIET from here on")
        self.weather.calm_down()
        for server in (self.engine, self.kafka):
            if not server.up:
                server.come_up()

    def _is_caught_up(self) -> bool:
        return not self.engine.busy and not self._behind()

    def _behind(self) -> list[str]:
        behind: list[str] = []
        for partition, log in enumerate(self.kafka.logs):
            if partition in self.kafka.refused:
                continue
            ranges = self.engine.ranges(TOPIC_ID, partition)
            reached = ranges[-1].next_offset if ranges else log.low
            if reached != log.high:
                behind.append(f"partition {partition} at {reached} of {log.high}")
        return behind


def run_seed(seed: int, focus: str | None = None, trace: Trace | None = None) -> Outcome:
    """Run one seed; the same seed always takes the same course.

    Args:
        seed: any number.
        focus: a name of `FOCUSES`, instead of weather drawn for the seed.
        trace: is told every step.

    Raises:
        Violation, Hung, Exception: the seed found something.
    """
    state = random.getstate()
    # `persist` spreads its retries with the module's own numbers.
    random.seed(seed)
    try:
        return World(Scenario.drawn(seed, focus), trace).run()
    finally:
        random.setstate(state)

"""The consumer processes of a simulation: the real consumer on the models, killed and started again."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final, cast
from uuid import UUID

from auditlog_consumer.assignment import Assigned
from auditlog_consumer.consumer import Consumer
from auditlog_consumer.dead_letters import DeadLetterSink
from auditlog_consumer.identity import TopicIdentity
from auditlog_consumer.recovery import Recovery
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.start import Start
from auditlog_consumer.store import BatchStore
from auditlog_schemas.errors import ConfigError, TerminalError
from auditlog_schemas.schema_ids import Answer
from auditlog_storage.claims import Claims
from auditlog_storage.connection import Connection
from simulated.clickhouse_clients import SimClaims, SimEventWriter, SimLedger, SimStoredRows
from simulated.clickhouse_model import EngineModel
from simulated.kafka_clients import TOPIC, Refused, SimAcknowledgedWriter, SimTopics
from simulated.kafka_member import SimGroupMember
from simulated.kafka_model import KafkaModel
from simulated.kernel import Kernel, Process
from simulated.network import Network
from simulated.payloads import QuickJudge, judge
from simulated.scenario import Scenario
from simulated.sim_runtime import SimFlag, SimRuntime

_USUAL: Final = ConsumerSettings(
    kafka="simulated:9092", topic=TOPIC, flush_interval_seconds=0.2, stop_seconds_max=2.0
)
GROUPS: Final = ("consumer", "stranger")
TOPIC_ID: Final = UUID("11111111-2222-4333-8444-555555555555")


@dataclass(slots=True)
class Slot:
    """A place where a consumer process runs, and is started again when it ends."""

    number: int
    group: str
    starts: int = 0
    process: Process | None = None
    stop: SimFlag | None = None


@dataclass(slots=True)
class Crew:
    """All consumer processes.

    Attributes:
        held_back: nobody is started: an operator is at work.
        terminal: what consumers stopped with.
        kills: how many processes were killed.
        began: the groups whose consumers found a start.
        turned_away: how many processes ended because another group records the topic.
        refused: how many times a partition was stopped because its letters are refused.
    """

    scenario: Scenario
    kernel: Kernel
    network: Network
    kafka: KafkaModel
    engine: EngineModel
    held_back: bool = False
    terminal: list[str] = field(default_factory=list)
    kills: int = 0
    refused: int = 0
    turned_away: int = 0
    began: set[str] = field(default_factory=set)
    groups: dict[str, KafkaModel] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.network.crash = self.kill
        self.network.stop = self.stop
        self.groups = dict.fromkeys(GROUPS[:1], self.kafka)
        self.groups |= {name: self.kafka.other_group() for name in GROUPS[1 : self.scenario.groups]}
        self.slots = [
            Slot(number, group) for group in self.groups for number in range(self.scenario.consumers)
        ]

    @property
    def starts(self) -> int:
        """Return how many processes were started."""
        return sum(slot.starts for slot in self.slots)

    def start_all(self) -> None:
        """Start every consumer that does not run."""
        for slot in self.slots:
            if slot.process is None:
                self.kernel.at(self.kernel.random.random(), partial(self._start, slot))

    def stop(self, process: Process) -> None:
        """Tell a process to end properly."""
        for slot in self.slots:
            if slot.process is process and slot.stop is not None and not slot.stop.is_set():
                self.kernel.trace(process.name, "TOLD TO STOP")
                slot.stop.set()

    def kill(self, process: Process) -> None:
        """Kill a process; its place is filled again after a while."""
        if process.alive:
            self.kills += 1
            self._end(process)

    def kill_all(self, *, but_paused: bool = False) -> None:
        """Kill every process, or every one but those that stand still: they may be overlooked."""
        for slot in self.slots:
            process = slot.process
            if process is not None and not (but_paused and process.paused_until > self.kernel.now):
                self.kill(process)

    def _end(self, process: Process) -> None:
        self.kernel.kill(process)
        for slot in self.slots:
            if slot.process is process:
                slot.process = slot.stop = None
                seconds = self.kernel.random.random() * self.kernel.random.choice((0.5, 4.0, 15.0))
                self.kernel.at(seconds, partial(self._start, slot))

    def partition_stopped(self, partition: int, error: BaseException) -> None:
        """Note that a consumer stopped a partition, unless that was to be."""
        self.kernel.trace("", f"STOPPED partition {partition}: {error}")
        if self._is_turned_away(error):
            return
        if isinstance(error, Refused):
            self.refused += 1
        else:
            self.terminal.append(f"{self.kernel.now:.2f} partition {partition}: {error!r}")

    def _is_turned_away(self, error: BaseException) -> bool:
        return self.scenario.groups > 1 and "another consumer group" in str(error)

    def _start(self, slot: Slot) -> None:
        if self.held_back or slot.process is not None:
            return
        slot.starts += 1
        process = Process(self.kernel, f"{slot.group}{slot.number}.{slot.starts}")
        draw = self.kernel.random
        runtime = SimRuntime(process, timedelta(seconds=draw.uniform(-60, 60)))
        slot.process, slot.stop = process, runtime.flag()
        longer = self.scenario.weather.catalogs and draw.random() < 0.5
        rows = draw.choice(self.scenario.batch_rows)
        self.kernel.trace(
            process.name, f"STARTED, batches of {rows}, {'longer' if longer else 'usual'} catalog"
        )
        consumer = self._consumer(slot.group, process, runtime, rows, longer)
        stop: Any = slot.stop

        def body() -> None:
            try:
                consumer.run(stop)
            except ConfigError as error:
                if not self._is_turned_away(error):
                    raise
                self.kernel.trace(process.name, f"TURNED AWAY {error}")
                self.turned_away += 1
                # Nobody starts it again: an operator has to mend its settings.
                slot.process = slot.stop = None
                self.kernel.at(0, lambda: self.kernel.kill(process))
                return
            except TerminalError as error:
                self.kernel.trace(process.name, f"TERMINAL {error}")
                self.terminal.append(f"{self.kernel.now:.2f} {process.name}: {error!r}")
            # Threads that still do something end with their process.
            self.kernel.at(0, lambda: self._end(process))

        self.kernel.spawn(process, "main", body)

    def _consumer(
        self, group_name: str, process: Process, runtime: SimRuntime, rows: int, longer: bool
    ) -> Consumer:
        settings = _settings(self.scenario, rows, group_name)
        at = (self.network, process)
        group: Any = SimGroupMember(self.groups[group_name], *at)
        letters: Any = SimAcknowledgedWriter(self.kafka, *at)
        writer: Any = SimEventWriter(self.engine, *at)
        stored: Any = SimStoredRows(self.engine, *at)
        ledger: Any = SimLedger(self.engine, *at)
        claims = Claims(cast(Connection, SimClaims(self.engine, *at)))
        topics: Any = SimTopics(self.kafka, *at)
        rules = judge(longer) if self.scenario.real_judge else QuickJudge(longer)
        dead_letters = DeadLetterSink(letters, settings.dead_topic, rules.catalog.version)
        identity = TopicIdentity(topics, TOPIC, TOPIC_ID, runtime.monotonic)
        store = BatchStore(settings, group, identity, dead_letters, writer, stored, ledger, runtime)
        recovery = Recovery(settings, ledger, claims, stored, writer, topics, identity, group, runtime)
        return _WatchedConsumer(self, settings, TOPIC_ID, group, recovery, rules, NoLookups(), store, runtime)


class NoLookups:
    """Stands for the lookups of schemas: simulated messages name none."""

    def ask(self, schema_ids: Iterable[int]) -> Future[dict[int, Answer]]:
        """Nobody asks."""
        raise AssertionError(f"no simulated message names a schema: {list(schema_ids)}")


class _WatchedConsumer(Consumer):
    """A consumer that tells its crew of partitions that are stopped."""

    def __init__(self, crew: Crew, *parts: Any) -> None:
        super().__init__(*parts)
        self._crew = crew

    def _started(self, assigned: Assigned, start: Start) -> None:
        self._crew.began.add(self._settings.group)
        super()._started(assigned, start)

    def _stop(self, assigned: Assigned, error: BaseException) -> None:
        self._crew.partition_stopped(assigned.partition.number, error)
        super()._stop(assigned, error)


def _settings(scenario: Scenario, rows: int, group: str) -> ConsumerSettings:
    return _USUAL.model_copy(
        update={
            "group": group,
            "batch_rows_max": rows,
            "storing_threads": scenario.storing_threads,
            "window_offsets": scenario.window,
            "session_timeout_seconds": scenario.session_seconds,
            "buffered_bytes_max": scenario.buffered_bytes,
        }
    )

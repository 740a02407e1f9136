"""Storing a backlog: ours, the obvious way and Arroyo, on the same topic, the same engine and the same table.

Ordinary events wait in a topic of 8 partitions. Each subject is a process of its own, starts with empty
tables and is measured from the moment Kafka gives it partitions until the last row is stored and committed,
in our case also read back and recorded in the ledger. The slow ones stop after a share of the events: their
figures are per event. `consume() alone` does nothing with the messages: no Python consumer can be faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final
from uuid import UUID

from consumer_run import Run, peer, product, run_until_stored
from event_load import load_topic
from harness import Bench
from servers import Servers

from auditlog_consumer.check import check
from auditlog_consumer.settings import ConsumerSettings
from auditlog_local.child import ChildSpec
from auditlog_storage.connection import Connection

PARTITIONS: Final = 8
RUN_SECONDS_MAX: Final = 600
OURS, OBVIOUS, ARROYO, ALONE = "ours", "the obvious way", "Arroyo", "consume() alone"


@dataclass(frozen=True)
class Scale:
    """How much is done: events in the topic, the slow subjects' share of them, and rounds."""

    events: int
    share: int
    rounds: int


FULL: Final = Scale(events=1_000_000, share=300_000, rounds=3)
QUICK: Final = Scale(events=200_000, share=60_000, rounds=1)


class Backlog:
    """A topic full of events, for one subject after another."""

    def __init__(self, servers: Servers, scale: Scale) -> None:
        self.servers = servers
        self.scale = scale
        self.topic, self.topic_id = servers.new_topic(PARTITIONS)
        self.message_bytes = load_topic(servers.bootstrap, self.topic, scale.events) / scale.events

    def ours(self) -> Run:
        def verify(connection: Connection, run: Run) -> None:
            settings = ConsumerSettings.load(kafka=self.servers.bootstrap, topic=self.topic)
            report = check(connection, settings)
            if not report.ok or report.accepted != run.events or report.rejected:
                raise RuntimeError(f"the check finds the log incomplete: {report}")

        return self._run(lambda url: product(self.servers, url, self.topic), self.scale.events, verify)

    def obvious(self) -> Run:
        return self._run(lambda url: self._peer("obvious_way", url), self.scale.share)

    def arroyo(self) -> Run:
        return self._run(lambda url: self._peer("arroyo_way", url), self.scale.share)

    def alone(self) -> Run:
        spec = peer("consume_alone", self.servers.bootstrap, self.topic, str(self.scale.events))
        return run_until_stored(self.servers, spec, self.scale.events, RUN_SECONDS_MAX)

    def _peer(self, name: str, url: str) -> ChildSpec:
        arguments = (self.servers.bootstrap, url, self.topic, str(self.topic_id), str(self.scale.share))
        return peer(name, *arguments)

    def _run(
        self,
        spec: Callable[[str], ChildSpec],
        events: int,
        verify: Callable[[Connection, Run], None] | None = None,
    ) -> Run:
        connection = self.servers.new_database()
        try:
            url = connection.settings.url.get_secret_value()
            run = run_until_stored(self.servers, spec(url), events, RUN_SECONDS_MAX)
            _require_stored(connection, self.topic_id, run.events)
            if verify is not None:
                verify(connection, run)
            return run
        finally:
            self.servers.drop(connection)


def _require_stored(connection: Connection, topic_id: UUID, events: int) -> None:
    """Raise RuntimeError unless so many rows are there, all of different events and offsets."""
    [counts] = connection.query_rows(
        "SELECT count(), uniqExact(event_id), uniqExact(kafka_partition, kafka_offset) FROM audit_events "
        "WHERE topic_id = {topic_id:UUID}",
        {"topic_id": topic_id},
    )
    if set(counts) != {events}:
        raise RuntimeError(f"{events} events were reported as stored; rows, ids and offsets are {counts}")


def main() -> None:
    bench = Bench(__doc__ or "")
    scale = QUICK if bench.quick else FULL
    runs: dict[str, list[Run]] = {ALONE: [], OURS: [], OBVIOUS: [], ARROYO: []}
    with Servers() as servers:
        backlog = Backlog(servers, scale)
        subjects = {
            ALONE: backlog.alone,
            OURS: backlog.ours,
            OBVIOUS: backlog.obvious,
            ARROYO: backlog.arroyo,
        }
        for _ in range(scale.rounds):
            for name, run in subjects.items():
                runs[name].append(run())
    print(
        f"{scale.events:,} events of {backlog.message_bytes:.0f} bytes in {PARTITIONS} partitions; "
        f"medians of {scale.rounds} rounds; rows, ids, offsets and `auditlog check` verified after each"
    )
    _report(bench, runs)
    _judge(bench, runs)
    bench.finish()


def _report(bench: Bench, runs: dict[str, list[Run]]) -> None:
    bench.row("", "events", "events/s", "consumer us/event", "engine us/event", "peak RSS MB", "start s")
    for name, found in runs.items():
        figures = {
            "per_second": _median(found, lambda run: run.per_second),
            "consumer_us_per_event": _median(found, lambda run: run.consumer_micros),
            "engine_us_per_event": _median(found, lambda run: run.engine_micros),
            "peak_rss_mb": max(run.peak_rss_bytes for run in found) / 1e6,
            "startup_seconds": _median(found, lambda run: run.startup_seconds),
        }
        key = name.replace(" ", "_").replace("()", "")
        for figure, value in figures.items():
            bench.figure(f"{key}_{figure}", value)
        rate, consumer, engine, rss, start = figures.values()
        cells = f"{rate:,.0f}", f"{consumer:.2f}", f"{engine:.2f}", f"{rss:.0f}", f"{start:.1f}"
        bench.row(name, f"{found[0].events:,}", *cells)


def _judge(bench: Bench, runs: dict[str, list[Run]]) -> None:
    """State the bars; ratios are formed within a round, then their median taken."""

    def ratio(of: str, to: str, figure: Callable[[Run], float]) -> float:
        return median(figure(a) / figure(b) for a, b in zip(runs[of], runs[to], strict=True))

    def wall(run: Run) -> float:
        return run.per_second

    def cpu(run: Run) -> float:
        return 1 / run.consumer_micros

    bench.bar("consumer CPU per event, the obvious way / ours", ratio(OURS, OBVIOUS, cpu), at_least=10)
    bench.bar("events/s wall, ours / the obvious way", ratio(OURS, OBVIOUS, wall), at_least=6)
    bench.bar("peak RSS of ours, MB", max(run.peak_rss_bytes for run in runs[OURS]) / 1e6, at_most=700)
    bench.figure("wall_ours_to_arroyo", ratio(OURS, ARROYO, wall))
    bench.figure("consumer_cpu_arroyo_to_ours", ratio(OURS, ARROYO, cpu))
    bench.figure("wall_ours_share_of_consume_alone", ratio(OURS, ALONE, wall))


def _median(runs: list[Run], figure: Callable[[Run], float]) -> float:
    return median(figure(run) for run in runs)


if __name__ == "__main__":
    main()

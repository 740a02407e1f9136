"""A consumer's memory while ClickHouse is away for half an hour and producers go on.

The engine is killed; 400,000 events follow at once, so that all that may be held is held soon, and then some
thousands a second for the whole outage. The consumer's resident memory is looked at all the time, also while
it catches up afterwards. In the end everything is stored and `auditlog check` finds nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, islice
from typing import Final

from checked import run_check
from confluent_kafka import Producer
from consumer_run import LogLines, product
from event_load import POOL_EVENTS, STEP_MICROS, ordinary_pool
from harness import Bench
from process_tree import command_pids
from resident_memory import ResidentMemory
from servers import Servers
from steady_servers import SteadyServers

from auditlog_local.child import Child
from auditlog_schemas.errors import AuditError
from auditlog_storage.connection import Connection

PARTITIONS: Final = 8
EVENTS_PER_SECOND: Final = 4_000
BACKLOG_EVENTS: Final = 400_000
WARM_EVENTS: Final = 200_000
OUTAGE_SECONDS: Final = 1_800.0
QUICK_OUTAGE_SECONDS: Final = 30.0
READY_SECONDS_MAX: Final = 60.0
QUIET_SECONDS_MAX: Final = 60.0
RSS_MEGABYTES_MAX: Final = 700
GROWTH_MAX: Final = 0.05
_PIECE_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 0.2


class Publisher:
    """Publishes ordinary events that all differ; counts them."""

    def __init__(self, kafka: str, topic: str) -> None:
        self.published = 0
        self._topic = topic
        self._messages = self._endless()
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 20,
                "queue.buffering.max.messages": 2 * POOL_EVENTS,
            }
        )

    def publish(self, events: int) -> None:
        """Publish so many at once, and return when Kafka has them."""
        self._produce(events)
        if left := self._producer.flush(120):
            raise RuntimeError(f"Kafka did not acknowledge {left} messages")

    def publish_steadily(self, until: float) -> None:
        """Publish at an even pace until a monotonic time."""
        begun, before = time.monotonic(), self.published
        while time.monotonic() < until:
            self._produce(int(EVENTS_PER_SECOND * _PIECE_SECONDS))
            due = begun + (self.published - before) / EVENTS_PER_SECOND
            while (early := due - time.monotonic()) > 0:
                self._producer.poll(early)
        self.publish(0)

    def _produce(self, events: int) -> None:
        for key, value in islice(self._messages, events):
            while len(self._producer) >= POOL_EVENTS:
                self._producer.poll(0.01)
            self._producer.produce(self._topic, value, key)
        self._producer.poll(0)
        self.published += events

    @staticmethod
    def _endless() -> Iterator[tuple[bytes, bytes]]:
        pool = ordinary_pool()
        for number in count():
            micros = int(time.time() * 1e6) - POOL_EVENTS * STEP_MICROS
            yield from zip(pool.accounts(), pool.round(number, micros), strict=True)


def wait_until_stored(connection: Connection, events: int) -> None:
    """Return when so many rows are there.

    Raises:
        RuntimeError: nothing more has come for a while.
    """
    stored, last_change = 0, time.monotonic()
    while stored < events:
        if time.monotonic() > last_change + QUIET_SECONDS_MAX:
            raise RuntimeError(f"{stored:,} of {events:,} events are stored, and no more come")
        time.sleep(_LOOK_SECONDS)
        with suppress(AuditError):
            [(found,)] = connection.query_rows("SELECT count() FROM audit_events")
            if found != stored:
                stored, last_change = found, time.monotonic()


@contextmanager
def away(engine: Child, paused: bool) -> Iterator[None]:
    """Take the engine away: killed, or paused with its connections open and every request waiting."""
    if paused:
        pids = command_pids(engine)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
    else:
        engine.kill()
    try:
        yield
    finally:
        if paused:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        else:
            engine.start()
            engine.wait_ready()


@dataclass(frozen=True, slots=True)
class Outage:
    """What an outage was like; peaks of the consumer's resident memory in bytes.

    Attributes:
        warm: before it.
        first_half, second_half: during it.
        afterwards: while the backlog was stored.
    """

    published: int
    warm: int
    first_half: int
    second_half: int
    afterwards: int
    catch_up_seconds: float
    checked: int


def measure(servers: Servers, seconds: float, paused: bool) -> Outage:
    """Let the engine be away for so long, then wait until everything is stored, and check it."""
    topic, _ = servers.new_topic(PARTITIONS)
    connection = servers.new_database()
    spec = product(servers, connection.settings.url.get_secret_value(), topic)
    consumer = Child(spec, servers.directory)
    consumer.start()
    memory = ResidentMemory(consumer)
    try:
        lines = LogLines(consumer, time.monotonic() + READY_SECONDS_MAX)
        for _ in range(PARTITIONS):
            lines.wait_for("started")
        publisher = Publisher(servers.bootstrap, topic)
        publisher.publish(WARM_EVENTS)
        wait_until_stored(connection, WARM_EVENTS)
        with away(servers.clickhouse, paused):
            begun = time.monotonic()
            publisher.publish(BACKLOG_EVENTS)
            publisher.publish_steadily(begun + seconds)
            ended = time.monotonic()
        wait_until_stored(connection, publisher.published)
        caught_up = time.monotonic()
    finally:
        memory.close()
        consumer.stop()
    checked = run_check(spec.env)
    if checked.returncode:
        print(checked.stdout, checked.stderr)
    middle = (begun + ended) / 2
    return Outage(
        publisher.published,
        memory.peak(0, begun),
        memory.peak(begun, middle),
        memory.peak(middle, ended),
        memory.peak(ended, caught_up),
        caught_up - ended,
        checked.returncode,
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--paused", action="store_true", help="stop the engine with SIGSTOP, not SIGKILL")
    parser.add_argument("--seconds", type=float, default=None, help="how long it is away")


def main() -> None:
    bench = Bench(__doc__ or "", _options)
    seconds = bench.options.seconds or (QUICK_OUTAGE_SECONDS if bench.quick else OUTAGE_SECONDS)
    with SteadyServers() as servers:
        outage = measure(servers, seconds, bench.options.paused)
    sizes = {
        "before": outage.warm,
        "first half": outage.first_half,
        "second half": outage.second_half,
        "catching up": outage.afterwards,
    }
    bench.row("peak resident memory", "MB")
    for when, size in sizes.items():
        bench.row(when, f"{size / 1e6:.0f}")
        bench.figure(f"{when.replace(' ', '_')}_mb", size / 1e6)
    bench.figure("outage_seconds", seconds)
    bench.figure("published", outage.published)
    bench.figure("catch_up_seconds", outage.catch_up_seconds)
    bench.bar("peak resident memory, MB", max(sizes.values()) / 1e6, at_most=RSS_MEGABYTES_MAX)
    bench.bar("growth in the second half", outage.second_half / outage.first_half - 1, at_most=GROWTH_MAX)
    bench.bar("exit code of auditlog check", outage.checked, at_most=0)
    bench.finish()


if __name__ == "__main__":
    main()

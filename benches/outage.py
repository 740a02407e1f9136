"""A consumer's memory while ClickHouse is away for half an hour and producers go on.

The engine is killed; 400,000 events follow at once, so that all that may be held is held soon, and then some
thousands a second for the whole outage. The consumer's resident memory is looked at all the time, also while
it catches up afterwards. In the end everything is stored and `auditlog check` finds nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from checked import run_check
from confluent_kafka import Producer
from consumer_run import LogLines, product
from event_load import POOL_EVENTS, STEP_MICROS, load_topic, ordinary_pool
from harness import Bench
from process_tree import command_pids
from servers import Servers

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
CATCH_UP_SECONDS_MAX: Final = 900.0
RSS_MEGABYTES_MAX: Final = 700
GROWTH_MAX: Final = 0.05
_PIECE_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 0.2


class Memory:
    """Looks at a process's resident memory in a thread of its own; `samples` are (monotonic time, bytes)."""

    def __init__(self, child: Child) -> None:
        self.samples: list[tuple[float, int]] = []
        self._child = child
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(5)

    def peak(self, since: float, until: float) -> int:
        """Return the most there was between two times."""
        return max((size for at, size in self.samples if since <= at <= until), default=0)

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            with suppress(OSError):
                self.samples.append((time.monotonic(), _resident_bytes(self._child)))


def _resident_bytes(child: Child) -> int:
    total = 0
    for pid in command_pids(child):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def publish_steadily(kafka: str, topic: str, until: float) -> int:
    """Publish at an even pace until a monotonic time; return how many events."""
    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random", "linger.ms": 20})
    pool, piece = ordinary_pool(), int(EVENTS_PER_SECOND * _PIECE_SECONDS)
    keys, published, number = pool.accounts(), 0, 0
    begun = time.monotonic()
    while time.monotonic() < until:
        number += 1
        # Numbers that load_topic's rounds do not have.
        values = pool.round(1_000_000 + number, int(time.time() * 1e6) - POOL_EVENTS * STEP_MICROS)
        for first in range(0, POOL_EVENTS, piece):
            for key, value in zip(keys[first : first + piece], values[first : first + piece], strict=True):
                producer.produce(topic, value, key)
            published += piece
            due = begun + published / EVENTS_PER_SECOND
            while (early := due - time.monotonic()) > 0:
                producer.poll(early)
            if time.monotonic() >= until:
                break
    if left := producer.flush(60):
        raise RuntimeError(f"Kafka did not acknowledge {left} messages")
    return published


def wait_until_stored(connection: Connection, events: int) -> None:
    """Return when so many rows are there.

    Raises:
        RuntimeError: it takes too long.
    """
    deadline, found = time.monotonic() + CATCH_UP_SECONDS_MAX, 0
    while found < events:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{found:,} of {events:,} events are stored")
        time.sleep(_LOOK_SECONDS)
        with suppress(AuditError):
            [(found,)] = connection.query_rows("SELECT count() FROM audit_events")


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
    memory = Memory(consumer)
    try:
        lines = LogLines(consumer, time.monotonic() + READY_SECONDS_MAX)
        for _ in range(PARTITIONS):
            lines.wait_for("started")
        load_topic(servers.bootstrap, topic, WARM_EVENTS)
        wait_until_stored(connection, WARM_EVENTS)
        with away(servers.clickhouse, paused):
            begun = time.monotonic()
            load_topic(servers.bootstrap, topic, BACKLOG_EVENTS)
            published = WARM_EVENTS + BACKLOG_EVENTS
            published += publish_steadily(servers.bootstrap, topic, begun + seconds)
            ended = time.monotonic()
        wait_until_stored(connection, published)
        caught_up = time.monotonic()
    finally:
        memory.close()
        consumer.stop()
    checked = run_check(spec.env)
    if checked.returncode:
        print(checked.stdout, checked.stderr)
    middle = (begun + ended) / 2
    return Outage(
        published,
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
    with Servers() as servers:
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

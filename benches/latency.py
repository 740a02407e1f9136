"""Publish to queryable: 200 events a second through the SDK, each looked for in the table until it is there.

The time of an event runs from just before `AuditProducer.publish` is called until the answer of the first
query that shows its row. One clock, one machine. The table is asked again 50 ms after each answer, by offset
and only for what is not there yet; so a figure is too high by up to one such period, never too low.
Beside it stands how much of a core the consumer, the broker and the engine took meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final
from uuid import UUID

import numpy as np
from consumer_run import LogLines, product
from harness import Bench
from process_cost import group_cost
from sample_messages import sample_messages
from servers import Servers

from auditlog_local.child import Child
from auditlog_producers import AuditEvent, AuditProducer, new_event_id
from auditlog_schemas.codec import MessageDecoder, WriterSchemas
from auditlog_schemas.event import datetime_of
from auditlog_storage.connection import Connection

PARTITIONS: Final = 8
EVENTS_PER_SECOND: Final = 200
SECONDS: Final = 60
QUICK_SECONDS: Final = 10
ASK_AGAIN_SECONDS: Final = 0.05
WAIT_SECONDS_MAX: Final = 30.0

_SINCE: Final = """
    SELECT kafka_partition, kafka_offset, event_id FROM audit_events
    WHERE topic_id = {{topic_id:UUID}} AND ({missing})
    SETTINGS preferred_optimize_projection_name = 'by_offset', max_threads = 1
"""


@dataclass
class Watch:
    """Looks for events in the table, from each partition's first offset that has not been there yet."""

    connection: Connection
    topic_id: UUID
    seen_at: dict[UUID, float] = field(default_factory=dict)
    query_seconds: list[float] = field(default_factory=list)
    _missing: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(PARTITIONS), 0))
    _beyond: set[tuple[int, int]] = field(default_factory=set)

    def look(self) -> None:
        """Note the time for every event that is there for the first time."""
        asked = time.monotonic()
        missing = " OR ".join(
            f"kafka_partition = {number} AND kafka_offset >= {offset}"
            for number, offset in self._missing.items()
        )
        rows = self.connection.query_rows(_SINCE.format(missing=missing), {"topic_id": self.topic_id})
        now = time.monotonic()
        self.query_seconds.append(now - asked)
        for number, offset, event_id in rows:
            self.seen_at.setdefault(event_id, now)
            self._beyond.add((number, offset))
        # One batch makes several parts, which appear one after another: a later offset may be there first.
        for number in self._missing:
            while (number, self._missing[number]) in self._beyond:
                self._beyond.remove((number, self._missing[number]))
                self._missing[number] += 1


def publish(producer: AuditProducer, seconds: int, published_at: dict[UUID, float]) -> None:
    """Publish at an even pace, catching up when late; note when each event was handed over."""
    decoder, random = MessageDecoder(WriterSchemas()), Random(1)
    count = EVENTS_PER_SECOND * seconds
    samples = [AuditEvent.from_record(decoder.decode(one)) for one in sample_messages("ordinary", 2_000)]
    begun = time.monotonic()
    for number in range(count):
        due = begun + number / EVENTS_PER_SECOND
        if (early := due - time.monotonic()) > 0:
            time.sleep(early)
        event = random.choice(samples).model_copy(
            update={"event_id": new_event_id(), "occurred_at": datetime_of(time.time_ns() // 1_000)}
        )
        published_at[event.event_id] = time.monotonic()
        producer.publish(event)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run took.

    Attributes:
        latencies: of each event, from publish to queryable, in seconds.
        query_seconds: of each query that looked.
        cores: of the consumer, the broker and the engine: seconds of processor time a second.
    """

    latencies: list[float]
    query_seconds: list[float]
    cores: dict[str, float]


def measure(servers: Servers, seconds: int) -> Measured:
    """Publish for so long, and wait until every event is there.

    Raises:
        RuntimeError: not all events arrived.
    """
    topic, topic_id = servers.new_topic(PARTITIONS)
    connection = servers.new_database()
    consumer = Child(product(servers, connection.settings.url.get_secret_value(), topic), servers.directory)
    consumer.start()
    try:
        lines = LogLines(consumer, time.monotonic() + WAIT_SECONDS_MAX)
        for _ in range(PARTITIONS):
            lines.wait_for("started")
        watch, published_at = Watch(connection, topic_id), dict[UUID, float]()
        children = {"consumer": consumer, "broker": servers.kafka, "engine": servers.clickhouse}
        before, begun = _cpu_seconds(children), time.monotonic()
        with AuditProducer(servers.bootstrap, service="bench", topic=topic) as producer:
            publishing = threading.Thread(target=publish, args=(producer, seconds, published_at))
            publishing.start()
            deadline = time.monotonic() + seconds + WAIT_SECONDS_MAX
            while publishing.is_alive() or len(watch.seen_at) < len(published_at):
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{len(published_at)} events were published, {len(watch.seen_at)} are there"
                    )
                watch.look()
                time.sleep(ASK_AGAIN_SECONDS)
        after, wall_seconds = _cpu_seconds(children), time.monotonic() - begun
    finally:
        consumer.stop()
    latencies = [watch.seen_at[event_id] - at for event_id, at in published_at.items()]
    cores = {name: (after[name] - before[name]) / wall_seconds for name in children}
    return Measured(latencies, watch.query_seconds, cores)


def _cpu_seconds(children: Mapping[str, Child]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, child in children.items():
        assert child.pid is not None
        found[name] = group_cost(child.pid).cpu_seconds
    return found


def main() -> None:
    bench = Bench(__doc__ or "")
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    with Servers() as servers:
        run = measure(servers, seconds)
    p50, p90, p99, worst = np.percentile(run.latencies, [50, 90, 99, 100])
    asking = float(np.median(run.query_seconds))
    print(
        f"{len(run.latencies):,} events, {EVENTS_PER_SECOND} a second; the query that looks takes "
        f"{asking:.3f} s"
    )
    print("of a core: " + ", ".join(f"{name} {100 * share:.0f}%" for name, share in run.cores.items()))
    bench.row("publish to queryable", "p50", "p90", "p99", "max")
    bench.row("seconds", *(f"{value:.3f}" for value in (p50, p90, p99, worst)))
    for name, value in {"p50": p50, "p90": p90, "p99": p99, "max": worst, "query_p50": asking}.items():
        bench.figure(f"{name}_seconds", float(value))
    for name, share in run.cores.items():
        bench.figure(f"{name}_cores", share)
    bench.bar("p50, seconds", float(p50), at_most=1.0)
    bench.bar("p99, seconds", float(p99), at_most=2.0)
    bench.finish()


if __name__ == "__main__":
    main()

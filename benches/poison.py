"""What whoever may publish can do to a consumer: bombs of every codec, very large messages, everywhere.

A consumer, as an operator runs it, is given events with poison between them. Partition 0 has none: its events
are timed from publishing to the ledger. In the middle the consumer is killed, some times. At the end every
event must be stored once, every poisoned offset must have its letter, and `check` must find nothing.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final
from uuid import UUID

from consumer_run import product
from harness import Bench
from process_cost import group_cost
from servers import Servers

from auditlog_consumer.check import check
from auditlog_consumer.dead_letter_log import DeadLetterLog
from auditlog_consumer.fetch.batches import BATCH_BYTES_MAX
from auditlog_consumer.lag import lag
from auditlog_consumer.settings import ConsumerSettings
from auditlog_local.child import Child
from auditlog_schemas.codec import encode
from auditlog_storage.connection import Connection
from kit.events import make_event
from kit.record_batches import Record, record_batch, send

PARTITIONS: Final = 8
MEMORY_BYTES_MAX: Final = 700 << 20
SECONDS_MAX: Final = 600
MB: Final = 1 << 20
KILLS: Final = 3
ROUNDS: Final = 6
QUICK_ROUNDS: Final = 1

BOMBS: Final[dict[str, tuple[str, int]]] = {
    "gzip 1000 MB": ("gzip", 1_000_000_000),
    "gzip 300 MB": ("gzip", 300 * MB),
    "zstd 1000 MB": ("zstd", 1_000_000_000),
    "zstd 90 MB": ("zstd", 90 * MB),
    "lz4 200 MB": ("lz4", 200 * MB),
    "gzip one byte over the bound": ("gzip", BATCH_BYTES_MAX + 1),
    "zstd 31 MB": ("zstd", 31 * MB),
    "gzip 31 MB": ("gzip", 31 * MB),
    "lz4 31 MB": ("lz4", 31 * MB),
    "snappy 20 MB": ("snappy", 20 * MB),
}
"""Name to codec and size of one message of zeros; those beyond the bound are passed over."""


@dataclass(slots=True)
class Published:
    """What was put into the topic: event ids, and by partition the poisoned offsets."""

    events: set[UUID] = field(default_factory=set)
    poisoned: set[tuple[int, int]] = field(default_factory=set)


class Publisher:
    """Puts batches into partitions by hand."""

    def __init__(self, kafka: str, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self.published = Published()

    def events(self, partition: int, count: int) -> int:
        """Publish good events as one batch; return the offset behind them."""
        events = [make_event() for _ in range(count)]
        self.published.events |= {event.event_id for event in events}
        records = [Record(encode(event.to_record()), event.account_id.encode()) for event in events]
        return send(self._kafka, self._topic, partition, record_batch(records, "zstd")) + count

    def poison(self, partition: int, batch: bytes, count: int) -> None:
        first = send(self._kafka, self._topic, partition, batch)
        self.published.poisoned |= {(partition, first + place) for place in range(count)}


def poison_batches() -> list[tuple[bytes, int]]:
    """Return batches with the number of their messages; the large ones are made once."""
    noise = random.Random(7).randbytes(200_000)
    made = [(record_batch([Record(b"", None, size)], codec), 1) for codec, size in BOMBS.values()]
    made.append((record_batch([Record(12 * noise, b"compresses well")], "zstd"), 1))
    made.append((record_batch([Record(noise, 4 * noise)], "zstd"), 1))
    made.append((record_batch([Record(None)] * 20_000, "gzip"), 20_000))
    made.append((record_batch([Record(b"", None, 40 * MB), Record(b"x")], "gzip"), 2))
    return made


def reached(connection: Connection, topic_id: UUID, offset: int) -> bool:
    from auditlog_storage.ledger import Ledger

    return (Ledger(connection).next_offset(topic_id, 0) or 0) >= offset


class Timing:
    """Publishes to the partition without poison and waits until the ledger has it."""

    def __init__(self, publisher: Publisher, connection: Connection, topic_id: UUID) -> None:
        self._publisher = publisher
        self._connection = connection
        self._topic_id = topic_id
        self.seconds: list[float] = []

    def run(self, times: int) -> None:
        for _ in range(times):
            begun = time.monotonic()
            end = self._publisher.events(0, 10)
            while not reached(self._connection, self._topic_id, end):
                if time.monotonic() - begun > SECONDS_MAX:
                    raise RuntimeError("the partition without poison does not go on")
                time.sleep(0.02)
            self.seconds.append(time.monotonic() - begun)


def start(servers: Servers, connection: Connection, topic: str, group: str) -> Child:
    spec = product(servers, connection.settings.url.get_secret_value(), topic)
    environment = {**spec.env, "AUDITLOG_GROUP": group, "AUDITLOG_SESSION_TIMEOUT_SECONDS": "6"}
    child = Child(type(spec)(spec.name, spec.argv, environment, stop_timeout_seconds=15), servers.directory)
    child.start()
    return child


def caught_up(settings: ConsumerSettings, connection: Connection, child: Child) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while any(one.lag for one in lag(settings, connection)):
        if child.exit_code() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the consumer ended or does not catch up:\n{child.tail()}")
        time.sleep(0.2)


def verdict(settings: ConsumerSettings, connection: Connection, published: Published) -> dict[str, Any]:
    """Compare what is stored and dead-lettered with what was published."""
    rows = [row[0] for row in connection.query_rows("SELECT event_id FROM audit_events")]
    letters = {
        (letter.source_partition, offset)
        for letter in DeadLetterLog(settings).read()
        for offset in range(letter.source_offset, letter.source_last_offset + 1)
    }
    return {
        "events missing": len(published.events - set(rows)),
        "rows too many": len(rows) - len(set(rows) & published.events),
        "offsets without a letter": len(published.poisoned - letters),
        "letters too many": len(letters - published.poisoned),
        "findings of check": len(check(connection, settings).findings),
    }


def poison_all(publisher: Publisher, batches: Sequence[tuple[bytes, int]], draw: random.Random) -> None:
    """Put every batch into every partition but the first, in an order of its own, with events around it."""
    for partition in range(1, PARTITIONS):
        for batch, count in draw.sample(batches, len(batches)):
            publisher.events(partition, 20)
            publisher.poison(partition, batch, count)
        publisher.events(partition, 20)


def main() -> None:
    def options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="of the order")

    bench = Bench(__doc__ or "", options)
    draw = random.Random(bench.options.seed)
    rounds = QUICK_ROUNDS if bench.quick else ROUNDS
    batches = poison_batches()
    with Servers() as servers:
        connection = servers.new_database()
        topic, topic_id = servers.new_topic(PARTITIONS)
        settings = ConsumerSettings.load(kafka=servers.bootstrap, topic=topic, group=topic)
        publisher = Publisher(servers.bootstrap, topic)
        timing, peaks = Timing(publisher, connection, topic_id), list[int]()
        child = start(servers, connection, topic, topic)
        timing.run(3)
        quiet = median(timing.seconds)
        timing.seconds.clear()
        begun = time.monotonic()
        for number in range(rounds):
            poison_all(publisher, batches, draw)
            timing.run(3)
            if number < KILLS:
                assert child.pid is not None
                peaks.append(group_cost(child.pid).peak_rss_bytes)
                child.kill()
                child = start(servers, connection, topic, topic)
        caught_up(settings, connection, child)
        seconds = time.monotonic() - begun
        assert child.pid is not None
        peaks.append(group_cost(child.pid).peak_rss_bytes)
        found = verdict(settings, connection, publisher.published)
        child.stop()
    bench.row("", "")
    bench.row("poisoned batches", f"{rounds * len(batches) * (PARTITIONS - 1):,}")
    bench.row("events", f"{len(publisher.published.events):,}")
    bench.row("kills", str(min(rounds, KILLS)))
    bench.row("seconds", f"{seconds:.0f}")
    bench.row("peak memory, MB", f"{max(peaks) / MB:.0f}")
    bench.row("an event beside it, s", f"{median(timing.seconds):.2f} (max {max(timing.seconds):.2f})")
    bench.row("an event before it, s", f"{quiet:.2f}")
    for name, count in found.items():
        bench.figure(name, count)
        bench.bar(name, count, at_most=0)
    bench.figure("seconds", seconds)
    bench.figure("an event beside it, seconds", median(timing.seconds))
    bench.figure("an event before it, seconds", quiet)
    bench.bar("peak memory of a consumer, bytes", max(peaks), at_most=MEMORY_BYTES_MAX)
    bench.finish()


if __name__ == "__main__":
    main()

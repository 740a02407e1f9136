"""One subject of a bench: a consumer in a process of its own, and what it costs until all is stored.

Subjects say on their output, in lines of JSON, what the product's own log says: ``assigned`` once Kafka has
given them partitions, ``stored`` with a count once so many messages are stored and committed. Everything is
counted between the first and the last of these: neither the start of a Python process nor joining a group is
part of an event's cost.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from process_cost import group_cost
from servers import Servers

from auditlog_local.child import Child, ChildSpec

BENCHES: Final = Path(__file__).parent
_LOOK_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class Run:
    """What storing so many events took; the consumer's processor time and the engine's told apart."""

    events: int
    wall_seconds: float
    consumer_cpu_seconds: float
    engine_cpu_seconds: float
    peak_rss_bytes: int
    startup_seconds: float

    @property
    def per_second(self) -> float:
        """Return events stored each second."""
        return self.events / self.wall_seconds

    @property
    def consumer_micros(self) -> float:
        """Return the consumer's processor time for one event, in microseconds."""
        return 1e6 * self.consumer_cpu_seconds / self.events

    @property
    def engine_micros(self) -> float:
        """Return the engine's processor time for one event, in microseconds."""
        return 1e6 * self.engine_cpu_seconds / self.events

    @property
    def wall_micros(self) -> float:
        """Return the time for one event, in microseconds."""
        return 1e6 * self.wall_seconds / self.events


def product(servers: Servers, database_url: str, topic: str) -> ChildSpec:
    """Return the product's consumer, as an operator runs it, in a group of its own."""
    return ChildSpec(
        name=f"ours-{uuid4().hex[:6]}",
        argv=(sys.executable, "-m", "auditlog_cli", "consume", "--log-json"),
        env={
            "AUDITLOG_KAFKA": servers.bootstrap,
            "AUDITLOG_CLICKHOUSE_URL": database_url,
            "AUDITLOG_TOPIC": topic,
            "AUDITLOG_GROUP": f"ours-{uuid4().hex[:6]}",
        },
        stop_timeout_seconds=15,
    )


def peer(name: str, *arguments: str) -> ChildSpec:
    """Return a program of `benches/peers`."""
    return ChildSpec(
        name=f"{name}-{uuid4().hex[:6]}",
        argv=(sys.executable, "-m", f"peers.{name}", *arguments),
        env={"PYTHONPATH": str(BENCHES)},
    )


def run_until_stored(servers: Servers, spec: ChildSpec, events: int, seconds_max: float) -> Run:
    """Start the consumer, wait until it has stored `events` messages, and stop it.

    Raises:
        RuntimeError: it ended, or was not done in time; with the end of its log.
    """
    engine = servers.clickhouse.pid
    child = Child(spec, servers.directory)
    begun = time.monotonic()
    child.start()
    assert child.pid is not None
    assert engine is not None
    try:
        lines = LogLines(child, begun + seconds_max)
        lines.wait_for("assigned")
        assigned = time.monotonic()
        before, engine_before = group_cost(child.pid), group_cost(engine)
        stored = 0
        while stored < events:
            stored += int(lines.wait_for("stored")["accepted"])
        ended = time.monotonic()
        after, engine_after = group_cost(child.pid), group_cost(engine)
    finally:
        child.stop()
    return Run(
        events=stored,
        wall_seconds=ended - assigned,
        consumer_cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        engine_cpu_seconds=engine_after.cpu_seconds - engine_before.cpu_seconds,
        peak_rss_bytes=after.peak_rss_bytes,
        startup_seconds=assigned - begun,
    )


class LogLines:
    """The JSON lines of a child's log as they are written."""

    def __init__(self, child: Child, deadline: float) -> None:
        self._child = child
        self._deadline = deadline
        self._log = child.log_path.open("rb")
        self._lines = self._follow()

    def wait_for(self, event: str) -> dict[str, Any]:
        """Return the next line that reports this event.

        Raises:
            RuntimeError: the child ended or the time is over.
        """
        return next(line for line in self._lines if line.get("event") == event)

    def _follow(self) -> Iterator[dict[str, Any]]:
        rest = b""
        while True:
            piece = self._log.read()
            if piece:
                *whole, rest = (rest + piece).split(b"\n")
                yield from (json.loads(line) for line in whole if line.startswith(b"{"))
                continue
            if self._child.exit_code() is not None or time.monotonic() > self._deadline:
                what = "is not done in time" if self._child.exit_code() is None else "ended"
                raise RuntimeError(f"{self._child.spec.name} {what}\n{self._child.tail()}")
            time.sleep(_LOOK_SECONDS)

"""Gauges of what the polling thread holds, brought up to date once a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, Protocol

from auditlog_consumer import metrics
from auditlog_consumer.runtime import Runtime

SHOWN_EVERY_SECONDS: Final = 1.0


class Held(Protocol):
    """An assigned partition; `Assigned` fits."""

    @property
    def state(self) -> str:
        """Return what it does: one of `metrics.STATES`."""

    @property
    def held_bytes(self) -> int:
        """Return the memory of the messages that are held, about."""

    @property
    def oldest_received_millis(self) -> int | None:
        """Return when Kafka received the oldest message held, since 1970 UTC; None when none is."""


class Gauges:
    """Shows what a consumer holds. Only the polling thread uses it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._due_seconds = float("-inf")

    def show(self, assigned: Mapping[int, Held], crowded: bool) -> None:
        """Set the gauges when a second is over since the last time."""
        seconds = self._runtime.monotonic()
        if seconds < self._due_seconds:
            return
        self._due_seconds = seconds + SHOWN_EVERY_SECONDS
        metrics.POLLED.set(self._runtime.now().timestamp())
        metrics.CROWDED.set(crowded)
        metrics.HELD_BYTES.set(sum(one.held_bytes for one in assigned.values()))
        states = Counter(one.state for one in assigned.values())
        for state in metrics.STATES:
            metrics.PARTITIONS.labels(state).set(states[state])
        for number, one in assigned.items():
            millis = one.oldest_received_millis
            if millis is not None:
                metrics.OLDEST_HELD.labels(str(number)).set(millis / 1000)
            else:
                metrics.forget(metrics.OLDEST_HELD, number)

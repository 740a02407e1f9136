"""What a consumer needs of the machine: clocks, threads, waiting. The simulator has a runtime of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from datetime import UTC, datetime
from typing import Any, ParamSpec, Protocol, TypeVar

from auditlog_consumer.daemon_pool import DaemonPool

P = ParamSpec("P")
T = TypeVar("T")


class Flag(Protocol):
    """Something that is set once; `threading.Event` fits."""

    def set(self) -> None:
        """Set it; whoever waits goes on."""

    def is_set(self) -> bool:
        """Tell whether it is set."""

    def wait(self, timeout: float | None = None) -> bool:
        """Return True once it is set, False after so many seconds."""


class Pool(Protocol):
    """Runs functions in threads of its own; `DaemonPool` fits."""

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function; its result or exception is the future's."""

    def shutdown(self) -> None:
        """Take nothing more."""


class Runtime(Protocol):
    """Clocks, threads and waiting."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def now(self) -> datetime:
        """Return the time of day, aware UTC."""

    def flag(self) -> Flag:
        """Return a flag that is not set."""

    def pool(self, threads: int, name: str) -> Pool:
        """Return a pool of so many threads."""

    def wait(self, futures: Collection[Future[Any]], seconds: float) -> None:
        """Return when all futures are done, or after so many seconds."""


class Threads:
    """The runtime of a process: the system's clocks and daemon threads."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the time of day, aware UTC."""
        return datetime.now(UTC)

    def flag(self) -> Flag:
        """Return a flag that is not set."""
        return threading.Event()

    def pool(self, threads: int, name: str) -> Pool:
        """Return a pool of daemon threads."""
        return DaemonPool(threads, name)

    def wait(self, futures: Collection[Future[Any]], seconds: float) -> None:
        """Return when all futures are done, or after so many seconds."""
        wait_for(futures, seconds)

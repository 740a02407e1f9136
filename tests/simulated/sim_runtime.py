"""A runtime of simulated clocks and threads, for the consumer and whatever else waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from simulated.kernel import Killed, Process

P = ParamSpec("P")
T = TypeVar("T")

DAY_ONE = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
"""What the right time is at simulated second 0."""


class SimFlag:
    """A flag of one process; `threading.Event` in real life."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._is_set = False

    def set(self) -> None:
        """Set it; whoever waits goes on."""
        self._is_set = True
        self._process.notify()

    def is_set(self) -> bool:
        """Tell whether it is set."""
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Return True once it is set, False after so many simulated seconds."""
        return self._process.wait(self.is_set, 1e9 if timeout is None else timeout)


class SimPool:
    """Runs functions in tasks of one process, at most so many at once, in order."""

    def __init__(self, process: Process, threads: int, name: str) -> None:
        self._process = process
        self._free = threads
        self._name = name
        self._work: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in a task; its result or exception is the future's."""
        self._process.require_alive()
        future: Future[T] = Future()
        self._work.append((future, lambda: function(*args, **kwargs)))
        if self._free:
            self._free -= 1
            self._process.kernel.spawn(self._process, self._name, self._run)
        return future

    def shutdown(self) -> None:
        """Take nothing more."""

    def _run(self) -> None:
        while self._work:
            future, function = self._work.popleft()
            try:
                result = function()
            except Killed:
                raise
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            self._process.done_count += 1
            self._process.notify()
        self._free += 1


class SimRuntime:
    """Clocks, threads and waiting of one process.

    Args:
        process: whose.
        clock_error: how far its time of day is from the right one.
    """

    def __init__(self, process: Process, clock_error: timedelta = timedelta(0)) -> None:
        self._process = process
        self._clock_error = clock_error

    def monotonic(self) -> float:
        """Return simulated seconds."""
        return self._process.kernel.now

    def now(self) -> datetime:
        """Return the process's own time of day."""
        return DAY_ONE + timedelta(seconds=self._process.kernel.now) + self._clock_error

    def flag(self) -> SimFlag:
        """Return a flag that is not set."""
        return SimFlag(self._process)

    def pool(self, threads: int, name: str) -> SimPool:
        """Return a pool of so many simulated threads."""
        return SimPool(self._process, threads, name)

    def wait(self, futures: Collection[Future[Any]], seconds: float) -> None:
        """Return when all futures are done, or after so many simulated seconds."""
        if futures:
            self._process.wait(lambda: all(future.done() for future in futures), seconds)

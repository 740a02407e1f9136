"""Worker threads that do not keep a process from ending.

The standard pool's threads are joined when the interpreter exits, so one request to a server that hangs would
hold up a stop for as long as that request may take. What these threads leave unfinished, the next owner of
the partition finds by reading back.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonPool:
    """A fixed number of daemon threads that run what is submitted, in order."""

    def __init__(self, threads: int, name: str) -> None:
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._threads = threads
        for number in range(threads):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in one of the threads; its result or exception is the future's."""
        future: Future[T] = Future()
        self._work.put((future, lambda: function(*args, **kwargs)))
        return future

    def shutdown(self) -> None:
        """Let each thread end after what it does now; waits for nothing. Nothing may be submitted after."""
        for _ in range(self._threads):
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            future, function = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = function()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            # A thread that waits must not keep the last batch in memory.
            del work, future, function

"""The simulator's scheduler: simulated time, simulated processes, and who goes on next.

One thread runs everything. A process's threads are greenlets; each runs until it calls into a model, which
hands control back here. What happens next is taken from a heap ordered by simulated time, and how long a
thing takes is drawn from the seed's random numbers: one seed is one order of events, always the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from greenlet import getcurrent, greenlet

Action = Callable[[], None]
Trace = Callable[[float, str, str], None]

EVENTS_MAX: Final = 300_000
"""Of one seed: more means that something spins without time going on."""


class Killed(BaseException):
    """This task's process was killed: it unwinds, and whatever it calls on the way does nothing."""


class Hung(AssertionError):
    """Something did not come to an end in bounded simulated time."""


class Process:
    """One simulated operating-system process.

    Attributes:
        alive: False once it was killed; nothing of it may run then.
        paused_until: stopped (SIGSTOP) until then; nothing of it runs before.
        done_count: how many futures of it have been completed: a reason to look again.
        last_unpaused_at: when it last went on after a pause.
    """

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.name = name
        self.alive = True
        self.paused_until = 0.0
        self.last_unpaused_at = float("-inf")
        self.done_count = 0
        self.tasks: set[Task] = set()
        self._waiting: dict[Task, Callable[[], bool]] = {}

    def require_alive(self) -> None:
        """Raise Killed in a task of a dead process: the first thing that every call into a model does."""
        if not self.alive:
            raise Killed

    def notify(self) -> None:
        """Let those go on who wait for something that is true by now."""
        for task, ready in list(self._waiting.items()):
            if ready():
                del self._waiting[task]
                self.kernel.wake(task)

    def wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Return True as soon as `ready()` holds after a `notify`, False after so many seconds."""
        self.require_alive()
        if ready():
            return True
        task = self.kernel.current
        if task is None:
            return self.kernel.run(ready, seconds)
        assert task.process is self, f"{task.name} waits in the name of {self.name}"
        self._waiting[task] = ready
        self.kernel.wake(task, seconds)
        self.kernel.block()
        self._waiting.pop(task, None)
        return ready()


class Task:
    """One simulated thread. `turn` counts how often it went on: what was meant for an earlier one is void."""

    __slots__ = ("greenlet", "name", "process", "turn")

    def __init__(self, process: Process, name: str, body: greenlet) -> None:
        self.process = process
        self.name = name
        self.greenlet = body
        self.turn = 0


class Kernel:
    """Runs simulated processes in simulated time.

    Attributes:
        now: simulated seconds since the start.
        random: the seed's random numbers; nothing else may be drawn from.
        current: the task that runs, None while the scheduler or a test itself does.
        failures: what tasks raised; the first one ends the run.
    """

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.current: Task | None = None
        self.failures: list[BaseException] = []
        self._trace = trace
        self._heap: list[tuple[float, int, Action]] = []
        self._count = 0
        self._hub = getcurrent()

    def trace(self, who: str, what: str) -> None:
        """Add a line to the trace, if there is one."""
        if self._trace is not None:
            self._trace(self.now, who, what)

    @property
    def traced(self) -> bool:
        """Tell whether lines of a trace are wanted: making them takes time."""
        return self._trace is not None

    def at(self, seconds: float, action: Action) -> None:
        """Run an action after so many seconds."""
        self._count += 1
        heappush(self._heap, (self.now + seconds, self._count, action))

    def spawn(self, process: Process, name: str, body: Callable[[], None]) -> None:
        """Start a task of a process, now but not inside this call."""

        def run() -> None:
            try:
                process.require_alive()
                body()
            except Killed:
                pass
            except BaseException as error:
                self.failures.append(error)
            finally:
                process.tasks.discard(task)

        task = Task(process, name, greenlet(run, parent=self._hub))
        process.tasks.add(task)
        self.wake(task)

    def wake(self, task: Task, seconds: float = 0.0) -> None:
        """Let a task go on after so many seconds, unless it went on before for another reason."""
        turn = task.turn
        self.at(seconds, lambda: self._resume(task, turn))

    def block(self) -> None:
        """Give control back; returns when the current task is woken. Raises Killed if it was killed."""
        task = self.current
        assert task is not None, "only a task can block"
        self._hub.switch()
        task.process.require_alive()

    def sleep(self, process: Process, seconds: float) -> None:
        """Return after so many seconds; from outside of any task it runs the others meanwhile."""
        process.require_alive()
        if self.current is None:
            self.run(lambda: False, seconds)
        else:
            self.wake(self.current, seconds)
            self.block()

    def pause(self, process: Process, seconds: float) -> None:
        """Stop a process, as SIGSTOP does, for so many seconds."""
        process.paused_until = max(process.paused_until, self.now + seconds)
        self.trace(process.name, f"PAUSED for {seconds:.2f} s")

    def kill(self, process: Process) -> None:
        """Kill a process. Its tasks unwind without any effect. Called by the scheduler, not by a task."""
        assert self.current is None, "a task cannot kill: use `at`"
        if not process.alive:
            return
        self.trace(process.name, "KILLED")
        process.alive = False
        for task in list(process.tasks):
            self.current = task
            if task.turn:
                task.greenlet.throw(Killed)
            self.current = None
        process.tasks.clear()

    def run(self, until: Callable[[], bool], seconds_max: float) -> bool:
        """Run everything until the condition holds (True), or for so many simulated seconds (False).

        Raises:
            Hung: far too many events: something spins.
            BaseException: what a task raised.
        """
        assert self.current is None, "the scheduler does not run inside a task"
        end = self.now + seconds_max
        while not until():
            if not self._heap or self._heap[0][0] > end:
                self.now = end
                return until()
            self.now, _, action = heappop(self._heap)
            action()
            if self.failures:
                raise self.failures[0]
            if self._count > EVENTS_MAX:
                raise Hung(f"{EVENTS_MAX} events within {self.now:.0f} simulated seconds")
        return True

    def _resume(self, task: Task, turn: int) -> None:
        process = task.process
        if task.turn != turn or not process.alive:
            return
        if process.paused_until > self.now:
            # Whoever could have gone on meanwhile does so in any order, some a good deal later than others.
            late = process.paused_until - self.now + self.random.random() ** 6
            self.at(late, lambda: self._resume(task, turn))
            return
        task.turn += 1
        self.current = task
        task.greenlet.switch()
        self.current = None

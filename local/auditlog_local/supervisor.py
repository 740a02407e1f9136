"""Keeps children running: restarts a crashed one, keeps down what keeps failing, stops all in order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from auditlog_local.child import Child, ChildSpec

QUICK_CRASHES_MAX: Final = 5
QUICK_SECONDS = 60.0
BACKOFF_SECONDS = 0.5
BACKOFF_SECONDS_MAX = 10.0
KEPT_DOWN_SECONDS = 60.0
KEPT_DOWN_SECONDS_MAX = 300.0
_POLL_SECONDS = 0.2
_DOUBLINGS_MAX: Final = 20

_log = logging.getLogger(__name__)

EventName = Literal["starting", "ready", "crashed", "restarted", "kept_down", "still_down", "stopped"]


@dataclass(frozen=True)
class ChildEvent:
    """Something that happened to a child.

    Attributes:
        name: of the child.
        event: ``starting`` and ``restarted``: its process was started; ``ready``: it works (one that was
            kept down: it ran for `QUICK_SECONDS`); ``crashed``: it is started again in a moment;
            ``kept_down``: it crashed too often, and is tried again rarely; ``still_down``: one such try
            failed too; ``stopped``: with the others.
        detail: one line; after a crash its last log lines follow.
    """

    name: str
    event: EventName
    detail: str = ""


@dataclass(frozen=True)
class KeptDown:
    """A child that crashed again and again.

    Attributes:
        name: of the child.
        since: when it was given up, ISO 8601 in UTC.
        reason: how it ended last and how many times in a row, in one line.
        last_line: the last line of its log; empty when it has none.
        log: path of its log.
    """

    name: str
    since: str
    reason: str
    last_line: str
    log: str


@dataclass(eq=False)
class _Watched:
    child: Child
    watched: bool = False  # not while whoever starts it waits for it
    ready: bool = False
    crashes: int = 0
    restart_at: float | None = None
    ready_deadline: float = 0.0
    down: KeptDown | None = None


class Supervisor:
    """The children of one stack.

    Args:
        log_dir: where each child's `<name>.log` goes.
        on_event: told of every event, from several threads, one at a time; must return quickly. What it
            raises is logged and changes nothing.
    """

    def __init__(self, log_dir: Path, on_event: Callable[[ChildEvent], None] | None = None) -> None:
        self._log_dir = log_dir
        self._on_event = on_event
        self._event_lock = threading.Lock()
        self._lock = threading.Lock()
        self._watched: list[_Watched] = []
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._monitor = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self, spec: ChildSpec) -> Child:
        """Start a child and return once it is ready; from then on it is restarted when it crashes.

        Raises:
            ChildFailed: it ended at once, or was not ready in time; it is stopped then.
            ConfigError: its log cannot be written.
        """
        one = _Watched(Child(spec, self._log_dir))
        try:
            with self._lock:
                one.child.start()
                self._watched.append(one)
            self._tell(spec.name, "starting", str(one.child.log_path))
            one.child.wait_ready(give_up=self._stopping.is_set)
        except BaseException:
            one.child.stop()
            with self._lock:
                self._watched = [other for other in self._watched if other is not one]
            raise
        one.ready = True
        self._tell(spec.name, "ready")
        with self._lock:
            one.watched = True
            if not self._monitor.is_alive() and not self._stopping.is_set():
                self._monitor.start()
        return one.child

    @property
    def pids(self) -> dict[str, int]:
        """Name -> pid of the children that run."""
        with self._lock:
            found = {one.child.spec.name: one.child.pid for one in self._watched}
        return {name: pid for name, pid in found.items() if pid is not None}

    @property
    def kept_down(self) -> tuple[KeptDown, ...]:
        """The children that crashed too often. The others run on."""
        with self._lock:
            return tuple(one.down for one in self._watched if one.down is not None)

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until everything is stopped; False when the time is over first."""
        return self._stopped.wait(timeout_seconds)

    def stop(self) -> None:
        """Stop the children, the last started first, those of one name stem (`consumer-1`, ...) together."""
        self._stopping.set()
        if self._monitor.is_alive():
            self._monitor.join(10)
        with self._lock:
            remaining, self._watched = self._watched, []
        while remaining:
            stem = _stem(remaining[-1])
            group = []
            while remaining and _stem(remaining[-1]) == stem:
                group.append(remaining.pop().child)
            with ThreadPoolExecutor(len(group)) as pool:
                troubles = list(pool.map(_stop, group))
            for child, trouble in zip(group, troubles, strict=True):
                self._tell(child.spec.name, "stopped", trouble)
        self._stopped.set()

    def _tell(self, name: str, event: EventName, detail: str = "") -> None:
        if self._on_event is None:
            return
        try:
            with self._event_lock:
                self._on_event(ChildEvent(name, event, detail))
        except Exception:
            # A terminal that went away (`up 2>&1 | head`) is no reason to watch nobody any more.
            _log.warning("what is told of %s %s failed", name, event, exc_info=True)

    def _watch(self) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            with self._lock:
                watched = [one for one in self._watched if one.watched]
            for one in watched:
                try:
                    self._look_at(one)
                except Exception as error:
                    # Also when it still runs: nobody could tell whether it works.
                    with suppress(Exception):
                        one.child.kill()
                    self._crashed(one, f"cannot be started or watched ({type(error).__name__}: {error})")

    def _look_at(self, one: _Watched) -> None:
        if one.restart_at is not None:
            if time.monotonic() >= one.restart_at:
                self._restart(one)
            return
        code = one.child.exit_code()
        if code is not None:
            self._crashed(one, f"ended with exit code {code}")
        elif not one.ready:
            one.ready = one.child.spec.ready()
            if one.ready and one.down is None:
                self._tell(one.child.spec.name, "ready")
            elif not one.ready and time.monotonic() > one.ready_deadline:
                one.child.kill()
                self._crashed(one, "was not ready in time after its restart")
        elif one.down is not None and _ran_long(one):
            one.down = None
            self._tell(one.child.spec.name, "ready")

    def _restart(self, one: _Watched) -> None:
        one.restart_at = None
        one.ready = False
        one.ready_deadline = time.monotonic() + one.child.spec.ready_timeout_seconds
        # One that could not be ended before must not live on beside its successor.
        one.child.kill()
        one.child.start()
        self._tell(one.child.spec.name, "restarted")

    def _crashed(self, one: _Watched, what: str) -> None:
        # One that never became ready may have taken long over that: it did not work all the same.
        one.crashes = 1 if one.ready and _ran_long(one) else one.crashes + 1
        one.restart_at = time.monotonic() + pause_seconds(one.crashes)
        name, tail = one.child.spec.name, one.child.tail()
        if one.crashes <= QUICK_CRASHES_MAX:
            self._tell(name, "crashed", f"{what}\n{tail}".rstrip())
            return
        reason = f"{what}, {one.crashes} times in a row"
        event: EventName = "still_down" if one.down else "kept_down"
        since = one.down.since if one.down else datetime.now(UTC).isoformat(timespec="seconds")
        last_line = (tail.strip().splitlines() or [""])[-1]
        one.down = KeptDown(name, since, reason, last_line, str(one.child.log_path))
        self._tell(name, event, f"{reason}; its log is {one.down.log}\n{tail}".rstrip())


def pause_seconds(crashes: int) -> float:
    """Return how long a child rests after so many crashes in a row: seconds at first, then minutes."""
    first, longest, doublings = BACKOFF_SECONDS, BACKOFF_SECONDS_MAX, crashes - 1
    if crashes > QUICK_CRASHES_MAX:
        first, longest, doublings = KEPT_DOWN_SECONDS, KEPT_DOWN_SECONDS_MAX, doublings - QUICK_CRASHES_MAX
    return min(first * 2.0 ** min(doublings, _DOUBLINGS_MAX), longest)


def _ran_long(one: _Watched) -> bool:
    return time.monotonic() - one.child.started_at > QUICK_SECONDS


def _stop(child: Child) -> str:
    """Stop a child and return "", or why it may still run: the others have to be stopped all the same."""
    try:
        child.stop()
    except Exception as error:
        return f"it may still run ({type(error).__name__}: {error})"
    return ""


def _stem(one: _Watched) -> str:
    return one.child.spec.name.rstrip("0123456789").rstrip("-")

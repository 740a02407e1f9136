"""Keeps children running: restarts a crashed one with backoff, tells what happens, stops all in order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from auditlog_local.child import Child, ChildFailed, ChildSpec

QUICK_CRASHES_MAX = 5
QUICK_SECONDS = 60.0
BACKOFF_SECONDS = 0.5
BACKOFF_SECONDS_MAX = 10.0
_POLL_SECONDS = 0.2

_log = logging.getLogger(__name__)

EventName = Literal["starting", "ready", "crashed", "restarting", "gave_up", "stopped"]


@dataclass(frozen=True)
class ChildEvent:
    """Something that happened to a child; ``detail`` is one line, or the last log lines behind a crash."""

    name: str
    event: EventName
    detail: str = ""


@dataclass
class _Watched:
    child: Child
    ready: bool = True
    crashes: int = 0
    restart_at: float | None = None
    ready_deadline: float = 0.0
    gave_up: bool = False
    order: int = field(default=0)


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
        self._failed = threading.Event()
        self._failure: ChildFailed | None = None
        self._monitor = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self, spec: ChildSpec) -> Child:
        """Start a child and return once it is ready; from then on it is restarted when it crashes.

        Raises:
            ChildFailed: it ended at once, or was not ready in time; it is stopped then.
            ConfigError: its log cannot be written.
        """
        child = Child(spec, self._log_dir)
        self._tell(spec.name, "starting", str(child.log_path))
        try:
            child.start()
            child.wait_ready(give_up=self._stopping.is_set)
        except BaseException:
            child.stop()
            raise
        self._tell(spec.name, "ready")
        with self._lock:
            self._watched.append(_Watched(child))
            if not self._monitor.is_alive() and not self._stopping.is_set():
                self._monitor.start()
        return child

    @property
    def pids(self) -> dict[str, int]:
        """Name -> pid of the children that run."""
        with self._lock:
            found = {watched.child.spec.name: watched.child.pid for watched in self._watched}
        return {name: pid for name, pid in found.items() if pid is not None}

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until a child is given up; False when the time is over first.

        Raises:
            ChildFailed: a child crashed too often; the others still run.
        """
        if not self._failed.wait(timeout_seconds):
            return False
        if self._failure is not None:
            raise self._failure
        return True

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
        self._failed.set()

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
                watched = list(self._watched)
            for one in watched:
                if one.gave_up:
                    continue
                try:
                    self._look_at(one)
                except Exception as error:
                    # Also when it still runs: nobody could tell whether it works.
                    with suppress(Exception):
                        one.child.kill()
                    self._crashed(one, f"cannot be started or watched ({type(error).__name__}: {error})")

    def _look_at(self, one: _Watched) -> None:
        now = time.monotonic()
        name = one.child.spec.name
        if one.restart_at is not None:
            if now >= one.restart_at:
                one.restart_at = None
                one.ready = False
                one.ready_deadline = now + one.child.spec.ready_timeout_seconds
                self._tell(name, "restarting")
                # One that could not be ended before must not live on beside its successor.
                one.child.kill()
                one.child.start()
            return
        code = one.child.exit_code()
        if code is None and not one.ready:
            if one.child.spec.ready():
                one.ready = True
                self._tell(name, "ready")
            elif now > one.ready_deadline:
                one.child.kill()
                self._crashed(one, "was not ready in time after its restart")
        elif code is not None:
            self._crashed(one, f"ended with exit code {code}")

    def _crashed(self, one: _Watched, what: str) -> None:
        name = one.child.spec.name
        now = time.monotonic()
        one.crashes = 1 if now - one.child.started_at > QUICK_SECONDS else one.crashes + 1
        tail = one.child.tail()
        self._tell(name, "crashed", f"{what}\n{tail}".rstrip())
        if one.crashes > QUICK_CRASHES_MAX:
            one.gave_up = True
            self._failure = ChildFailed(
                f"{name} {what}, {one.crashes} times in a row; it is not started again. "
                f"Read {one.child.log_path}; its last lines:\n{tail}"
            )
            self._tell(name, "gave_up", str(self._failure))
            self._failed.set()
            return
        one.restart_at = now + min(BACKOFF_SECONDS * 2 ** (one.crashes - 1), BACKOFF_SECONDS_MAX)


def _stop(child: Child) -> str:
    """Stop a child and return "", or why it may still run: the others have to be stopped all the same."""
    try:
        child.stop()
    except Exception as error:
        return f"it may still run ({type(error).__name__}: {error})"
    return ""


def _stem(one: _Watched) -> str:
    return one.child.spec.name.rstrip("0123456789").rstrip("-")

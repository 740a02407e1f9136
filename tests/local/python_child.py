"""Children that are a few lines of Python, and waiting for what is told of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from auditlog_local.child import ChildSpec
from auditlog_local.supervisor import ChildEvent

SLEEP = "import time; time.sleep(600)"


def python(
    name: str,
    code: str,
    *arguments: str,
    ready: Callable[[], bool] = lambda: True,
    ready_timeout_seconds: float = 60,
) -> ChildSpec:
    argv = (sys.executable, "-c", code, *arguments)
    return ChildSpec(
        name, argv, ready=ready, ready_timeout_seconds=ready_timeout_seconds, stop_timeout_seconds=3
    )


def wait_for(
    events: Sequence[ChildEvent], name: str, event: str, count: int = 1, seconds: float = 60
) -> None:
    deadline = time.monotonic() + seconds
    while sum(e.name == name and e.event == event for e in events) < count:
        assert time.monotonic() < deadline, events
        time.sleep(0.02)

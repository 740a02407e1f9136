"""What happens to the processes of the local stack, told as lines on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from auditlog_cli.terminal import notes_console
from auditlog_schemas.inert import inert

if TYPE_CHECKING:
    from auditlog_local.supervisor import ChildEvent

NAME_WIDTH: Final = 14
TAIL_LINES_MAX: Final = 5
_KEPT_DOWN: Final = (
    "→ mend the cause, and it comes back by itself: it is tried after a minute, later every five minutes",
    "  sooner, and when an environment variable was the cause: Ctrl-C, and start everything again",
    "  see docs/operations.md, 'a process that is kept down'",
)


class Happenings:
    """Tells what became ready, what crashed, what is kept down and what runs again."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._crashed: set[str] = set()

    @property
    def seconds(self) -> float:
        """Return how long ago this began."""
        return time.monotonic() - self._started

    def notice(self, name: str, what: str) -> None:
        """Tell that something is ready."""
        self._tell("✓", "green", f"{name:<{NAME_WIDTH}}{what}")

    def on_event(self, event: ChildEvent) -> None:
        """Tell about a crash and what follows from it; an ordinary start and stop is not worth a line.

        That one is kept down is told once, and then only that it runs again.
        """
        if event.event == "crashed":
            self._tell_end(event, "crashed: {}; it is started again")
        elif event.event == "kept_down":
            self._tell_end(event, "is kept down, everything else goes on: {}")
            for line in _KEPT_DOWN:
                self._tell(" ", "", f"{'':<{NAME_WIDTH}}{line}")
        elif event.event == "ready" and event.name in self._crashed:
            self._crashed.discard(event.name)
            self._tell("✓", "green", f"{event.name:<{NAME_WIDTH}}runs again")

    def _tell_end(self, event: ChildEvent, what: str) -> None:
        self._crashed.add(event.name)
        first, *tail = event.detail.splitlines() or [""]
        self._tell("✗", "red", f"{event.name:<{NAME_WIDTH}}{what.format(first)}")
        for line in tail[-TAIL_LINES_MAX:]:
            self._tell(" ", "", f"{'':<{NAME_WIDTH}}{line}")

    def _tell(self, mark: str, colour: str, text: str) -> None:
        if not sys.stderr.isatty():
            sys.stderr.write(f"{mark} {inert(text)}\n")
            sys.stderr.flush()
            return
        from rich.text import Text

        notes_console().print(Text.assemble((mark, colour), f" {inert(text)}"), soft_wrap=True)

"""What happens to the processes of the local stack, told as lines on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from auditlog_cli.terminal import notes_console
from auditlog_schemas.inert import inert

if TYPE_CHECKING:
    from auditlog_local.supervisor import ChildEvent

NAME_WIDTH: Final = 12
TAIL_LINES_MAX: Final = 5


class Happenings:
    """Tells what became ready, what crashed and what was started again."""

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
        """Tell about a crash and what follows from it; an ordinary start and stop is not worth a line."""
        if event.event == "crashed":
            self._crashed.add(event.name)
            first, *tail = event.detail.splitlines() or [""]
            self._tell("✗", "red", f"{event.name:<{NAME_WIDTH}}crashed: {first}; it is started again")
            for line in tail[-TAIL_LINES_MAX:]:
                self._tell(" ", "", f"{'':<{NAME_WIDTH}}{line}")
        elif event.event == "ready" and event.name in self._crashed:
            self._crashed.discard(event.name)
            self._tell("✓", "green", f"{event.name:<{NAME_WIDTH}}runs again")

    def _tell(self, mark: str, colour: str, text: str) -> None:
        if not sys.stderr.isatty():
            sys.stderr.write(f"{mark} {inert(text)}\n")
            sys.stderr.flush()
            return
        from rich.text import Text

        notes_console().print(Text.assemble((mark, colour), f" {inert(text)}"), soft_wrap=True)

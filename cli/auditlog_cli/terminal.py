"""Where output goes: data on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from auditlog_schemas.inert import inert, inert_json

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal() -> bool:
    """Tell whether a person reads stdout directly, so that tables and colours help."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def write(line: str = "") -> None:
    """Write one line of data, made inert."""
    sys.stdout.write(inert(line) + "\n")


def write_json(value: Any) -> None:
    """Write one JSON line of data."""
    sys.stdout.write(inert_json(value) + "\n")


def say(line: str) -> None:
    """Tell the person something that is not data: progress, hints, what was left out."""
    sys.stdout.flush()
    sys.stderr.write(inert(line) + "\n")
    sys.stderr.flush()


def data_console() -> Console:
    """Return the rich console of stdout; nothing it prints is read as markup."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def notes_console() -> Console:
    """Return the rich console of stderr, for progress bars and the like."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def close_after_broken_pipe() -> None:
    """Point stdout nowhere: its reader has gone, and flushing at exit would complain."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends

"""A progress bar on stderr while a person watches; nothing in a log or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from auditlog_cli.terminal import notes_console


class Show(Protocol):
    """Shows how far something is."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Show it."""


@contextmanager
def progress_bar(doing: str, total: int | None = None) -> Iterator[Show]:
    """Show how far something is; call what this yields with how much is done, and a new total."""
    if not sys.stderr.isatty():
        yield lambda _done, _total=None: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=notes_console(), transient=True) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda done, total=None: progress.update(task, completed=done, total=total)

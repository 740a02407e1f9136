"""`auditlog doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Final

import typer

from auditlog_cli import failures
from auditlog_cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from auditlog_cli.terminal import data_console, is_terminal, write, write_json
from auditlog_schemas.inert import inert

if TYPE_CHECKING:
    from auditlog_cli.doctor.diagnosis import Diagnosis

_MARKS: Final = {"ok": ("✓", "green"), "note": ("!", "yellow"), "wrong": ("✗", "red")}
_NAME_WIDTH: Final = 13


def doctor(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Look at everything the audit log needs; exits 1 when something is wrong."""
    from auditlog_cli.doctor.machine import diagnose_machine
    from auditlog_cli.doctor.services import diagnose_services

    wrong = 0
    for diagnosis in chain(diagnose_machine(data_dir), diagnose_services(data_dir)):
        wrong += diagnosis.status == "wrong"
        if as_json:
            write_json(asdict(diagnosis))
        else:
            _write(diagnosis)
    if wrong:
        raise typer.Exit(failures.FAILURE)


def _write(diagnosis: Diagnosis) -> None:
    mark, colour = _MARKS[diagnosis.status]
    lines = [f"{diagnosis.name:<{_NAME_WIDTH}} {diagnosis.found}"]
    if diagnosis.next:
        lines.append(f"{'':<{_NAME_WIDTH}} → {diagnosis.next}")
    if not is_terminal():
        write(f"{diagnosis.status:<6}" + lines[0])
        for line in lines[1:]:
            write(" " * 6 + line)
        return
    from rich.text import Text

    console = data_console()
    console.print(Text.assemble((mark, colour), f" {inert(lines[0])}"))
    for line in lines[1:]:
        console.print(Text(inert(f"  {line}"), style="bold"))

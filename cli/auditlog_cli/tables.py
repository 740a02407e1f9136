"""Rows of text: a table on a terminal, aligned columns in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from auditlog_cli.terminal import data_console, is_terminal, write
from auditlog_schemas.inert import inert

if TYPE_CHECKING:
    from rich.table import Table

GAP: Final = "  "
WIDE: Final = 130


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        title: its heading.
        style: of its cells on a terminal, for example ``cyan``.
        right: aligned to the right, for numbers.
        width: in characters, when it must be the same from page to page; 0 fits the content.
        whole: never wrapped on a terminal.
        wide: left out on a terminal with fewer than `WIDE` columns.
    """

    title: str
    style: str = ""
    right: bool = False
    width: int = 0
    whole: bool = False
    wide: bool = False


def write_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], heading: bool = True) -> None:
    """Write rows; `heading` is False for the further pages of one table."""
    cells = [[inert(cell) for cell in row] for row in rows]
    if is_terminal():
        console = data_console()
        shown = [index for index, column in enumerate(columns) if console.width >= WIDE or not column.wide]
        kept = [[row[index] for index in shown] for row in cells]
        console.print(_rich_table([columns[index] for index in shown], kept, heading))
        return
    if heading:
        cells.insert(0, [column.title.upper() for column in columns])
    for line in _aligned(columns, cells):
        write(line)


def column_time(moment: datetime, for_person: bool) -> str:
    """Return an aware time in UTC, to the second; RFC 3339 unless a person reads it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S" if for_person else "%Y-%m-%dT%H:%M:%SZ")


def _rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], heading: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=heading, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column.title,
            style=column.style,
            justify="right" if column.right else "left",
            min_width=column.width or None,
            no_wrap=column.whole,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _aligned(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    from rich.cells import cell_len

    widths = [
        max([column.width, *(cell_len(row[index]) for row in rows)]) for index, column in enumerate(columns)
    ]
    for row in rows:
        padded = []
        for column, width, cell in zip(columns, widths, row, strict=True):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if column.right else cell + space)
        yield GAP.join(padded).rstrip()

"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_DATA_DIR: Final = Path(".auditlog")

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="AUDITLOG_DATA_DIR",
        help="Where the local stack keeps its data.",
        show_default=True,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines, times in RFC 3339.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="At or after: 24h, 3d, yesterday, 2026-11-01, RFC 3339.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Before; same forms.")]
OnlyPartition = Annotated[
    int | None, typer.Option("--partition", min=0, max=2**31 - 1, help="Only this Kafka partition.")
]

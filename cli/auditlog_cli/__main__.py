"""The console script and `python -m auditlog_cli`: the command, or one line when libraries are missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Final, NoReturn

SERVER_LIBRARIES: Final = (
    "clickhouse_connect",
    "cryptography",
    "fastapi",
    "httptools",
    "jinja2",
    "jwt",
    "lark",
    "lz4",
    "numpy",
    "obstore",
    "prometheus_client",
    "pyarrow",
    "pydantic_settings",
    "rich",
    "starlette",
    "structlog",
    "typer",
    "uvicorn",
    "uvloop",
)
"""What the extra `server` installs on every Python; the base install, the SDK, has none of them."""


def main() -> NoReturn:
    """Run the command line and exit; with 2 when the libraries of the extra `server` are not installed."""
    if not all(map(find_spec, SERVER_LIBRARIES)):
        sys.stderr.write("auditlog: the command needs the server parts: pip install 'auditlog[server]'\n")
        sys.exit(2)
    from auditlog_cli.main import main as run

    run()


if __name__ == "__main__":
    main()

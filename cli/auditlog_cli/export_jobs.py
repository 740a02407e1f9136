"""Exports of this machine's log: their settings, and what a person sees of a job."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from auditlog_cli.addresses import connect
from auditlog_cli.progress import progress_bar
from auditlog_cli.terminal import say
from auditlog_schemas.errors import AuditError

if TYPE_CHECKING:
    from auditlog_exports.jobs import Jobs, Status
    from auditlog_exports.settings import ExportSettings

EXPORT_URL: Final = "AUDITLOG_EXPORT_URL"
LOOK_SECONDS: Final = 0.5
UNTAKEN_SECONDS: Final = 15.0


def export_settings(data_dir: Path) -> ExportSettings:
    """Return the settings; without AUDITLOG_EXPORT_URL exports are in the data directory.

    Raises:
        ConfigError: a variable is wrong.
    """
    from auditlog_exports.settings import ExportSettings

    given = {} if os.environ.get(EXPORT_URL) else {"url": (data_dir.absolute() / "exports").as_uri()}
    return ExportSettings.load(**given)


@contextmanager
def the_jobs(data_dir: Path, *, asks_clickhouse: bool = False) -> Iterator[Jobs]:
    """Yield the jobs; only making one needs ClickHouse."""
    from auditlog_exports.jobs import Jobs
    from auditlog_exports.object_store import ObjectStore

    settings = export_settings(data_dir)
    store = ObjectStore(settings.url)
    if not asks_clickhouse:
        yield Jobs(settings, store, None)
        return
    with connect(data_dir) as connection:
        yield Jobs(settings, store, connection)


def await_end(jobs: Jobs, account_id: str, job_id: str) -> Status:
    """Show how a job goes on until it has ended, and return how.

    Raises:
        AuditError: it did not end well.
    """
    began, told = time.monotonic(), ""
    status = jobs.status(account_id, job_id)
    with progress_bar(f"exporting {job_id}", status.progress.rows_expected) as show:
        while status.ending is None:
            show(status.progress.rows_done, status.progress.rows_expected)
            waiting = status.progress.waiting
            if status.state == "queued" and time.monotonic() - began > UNTAKEN_SECONDS:
                waiting = "no worker has taken it: start one with `auditlog export-worker`"
            if waiting and waiting != told:
                say(f"waiting: {waiting}")
                told = waiting
            time.sleep(LOOK_SECONDS)
            status = jobs.status(account_id, job_id)
    if status.state != "finished":
        raise AuditError(
            f"export {job_id} {status.state} {status.ending.error if status.ending else ''}".strip()
        )
    return status


def status_json(status: Status) -> dict[str, Any]:
    """Return a job and how it stands as JSON-like data; the shape that the API answers with."""
    from auditlog_exports.status_json import status_json

    return status_json(status)


def download(jobs: Jobs, account_id: str, job_id: str, out: Path, *, one_file: bool) -> Path:
    """Write the parts and the manifest to a folder, or one file of all events, and return where.

    What is there under a final name is whole: files are written under another name first.

    Raises:
        NotWhole: a part is not what its record says.
        OSError: it cannot be written.
    """
    from auditlog_exports import download as files
    from auditlog_exports.object_store import json_bytes

    job = jobs.finished(account_id, job_id)
    if one_file:
        path = out / files.file_name(job) if out.is_dir() else out
        _write(path, files.one_file(jobs, job))
        return path
    out.mkdir(parents=True, exist_ok=True)
    manifest = jobs.manifest(account_id, job_id)
    with progress_bar(f"downloading {job_id}", manifest["rows"]) as show:
        done = 0
        for number in range(1, len(manifest["parts"]) + 1):
            part = jobs.part(account_id, job_id, number)
            _write(out / part.file, files.part_bytes(jobs, job, part))
            done += part.rows
            show(done)
    # Last, as in the store.
    _write(out / "manifest.json", iter([json_bytes(manifest)]))
    return out


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise

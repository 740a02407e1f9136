"""`auditlog export`: an account's log, or some of it, as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from auditlog_cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, Since, Until
from auditlog_cli.tables import Column, write_table
from auditlog_cli.terminal import say, write, write_json
from auditlog_schemas.errors import AuditError, BadFilter

if TYPE_CHECKING:
    from auditlog_api.own_events import ExportAction
    from auditlog_exports.jobs import Status
    from auditlog_storage.filters import EventFilter

app = typer.Typer(no_args_is_help=True, help="Export an account's log as CSV, JSON lines or Parquet.")

Account = Annotated[str, typer.Option(help="Whose log.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="As `auditlog export list` shows it.")]
Out = Annotated[Path, typer.Option(help="Where to: a folder, or a file with --one-file.")]
OneFile = Annotated[bool, typer.Option("--one-file", help="One file instead of parts and a manifest.")]

_COLUMNS: Final = (
    Column("Job", "cyan", whole=True),
    Column("State", whole=True),
    Column("Format", whole=True),
    Column("Events", whole=True),
    Column("Created (UTC)", "dim", whole=True),
    Column("Expires (UTC)", "dim", whole=True),
)


@app.command("create")
def create(
    account: Account,
    search: Annotated[
        str | None, typer.Argument(metavar="[SEARCH]", help="Which events, see docs/searching.md.")
    ] = None,
    item: Annotated[str | None, typer.Option(metavar="TYPE/ID", help="Events of one item.")] = None,
    action: Annotated[list[str] | None, typer.Option(help="Only this; several times for more.")] = None,
    actor: Annotated[str | None, typer.Option(metavar="ID", help="Only this actor's.")] = None,
    since: Since = None,
    until: Until = None,
    format: Annotated[Literal["csv", "jsonl", "parquet"], typer.Option(help="Of the files.")] = "csv",
    compression: Annotated[Literal["none", "gzip", "zstd"], typer.Option(help="Of the files.")] = "none",
    raw_csv: Annotated[bool, typer.Option("--raw-csv", help="Leave cells that look like formulas.")] = False,
    key: Annotated[
        str | None, typer.Option(help="The same request with the same key makes no second export.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is finished.")] = False,
    out: Annotated[Path | None, typer.Option(help="Wait, and download to this folder.")] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make an export of what is stored by now. A worker does the work: `auditlog export-worker`."""
    from auditlog_cli.export_jobs import await_end, download, status_json, the_jobs
    from auditlog_cli.own_name import user_and_host
    from auditlog_exports.job import Shape

    shape = Shape(format, compression, raw_csv)
    filter = _filter(search, item, action, actor, since, until)
    with the_jobs(data_dir, asks_clickhouse=True) as jobs:
        job, is_new = jobs.create(account, filter, shape, user_and_host(), key)
        if is_new:
            _record("export_created", jobs.status(account, job.job_id), data_dir)
        if wait or out is not None:
            await_end(jobs, account, job.job_id)
        if out is not None:
            _record("export_downloaded", jobs.status(account, job.job_id), data_dir)
            say(f"written to {download(jobs, account, job.job_id, out, one_file=False)}")
        status = jobs.status(account, job.job_id)
    if as_json:
        write_json(status_json(status))
    else:
        write(job.job_id)


@app.command("status")
def status(
    account: Account, job_id: JobId, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR
) -> None:
    """Show how an export stands."""
    from auditlog_cli.export_jobs import status_json, the_jobs

    with the_jobs(data_dir) as jobs:
        found = status_json(jobs.status(account, job_id))
    if as_json:
        write_json(found)
        return
    for name, value in found.items():
        if value not in (None, "", {}):
            write(f"{name:16} {value}")


@app.command("list")
def list_jobs(account: Account, as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """List an account's exports, the newest first."""
    from auditlog_cli.export_jobs import status_json, the_jobs

    with the_jobs(data_dir) as jobs:
        found = jobs.of_account(account)
    if as_json:
        for each in found:
            write_json(status_json(each))
    elif found:
        write_table(_COLUMNS, [_row(each) for each in found])
    else:
        say(f"account {account} has no exports")


@app.command("cancel")
def cancel(account: Account, job_id: JobId, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Cancel an export; nothing of it is left that looks finished."""
    from auditlog_cli.export_jobs import the_jobs

    with the_jobs(data_dir) as jobs:
        status = jobs.cancel(account, job_id)
        _record("export_cancelled", status, data_dir)
    say(f"{job_id} is {status.state}")


@app.command("delete")
def delete(account: Account, job_id: JobId, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Delete an export that has ended, with its files."""
    from auditlog_cli.export_jobs import the_jobs

    with the_jobs(data_dir) as jobs:
        status = jobs.status(account, job_id)
        jobs.delete(account, job_id)
        _record("export_deleted", status, data_dir)
    say(f"{job_id} is deleted")


@app.command("download")
def download(
    account: Account,
    job_id: JobId,
    out: Out,
    one_file: OneFile = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Download a finished export; every part is checked on the way."""
    from auditlog_cli.export_jobs import download as write_files
    from auditlog_cli.export_jobs import the_jobs

    with the_jobs(data_dir) as jobs:
        jobs.finished(account, job_id)
        _record("export_downloaded", jobs.status(account, job_id), data_dir)
        path = write_files(jobs, account, job_id, out, one_file=one_file)
    say(f"written to {path}")


@app.command("verify")
def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Parts and manifest.json.")],
) -> None:
    """Check a downloaded export against its manifest: hashes, counts, and that no event comes twice."""
    import json

    from auditlog_cli.progress import progress_bar
    from auditlog_exports.verify import verify as check

    try:
        total = json.loads((directory / "manifest.json").read_bytes())["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        total = None
    with progress_bar("reading", total) as show:
        found = check(directory, show)
    for finding in found.findings:
        write(finding)
    if not found.ok:
        raise AuditError(f"{directory} is not what its manifest says")
    say(f"whole: {found.rows:,} events in {found.parts:,} parts, {found.bytes:,} bytes")


def _filter(
    search: str | None,
    item: str | None,
    action: list[str] | None,
    actor: str | None,
    since: str | None,
    until: str | None,
) -> EventFilter:
    from datetime import UTC, datetime

    from auditlog_storage.filters import EventFilter, Item
    from auditlog_storage.moments import parse_moment
    from auditlog_storage.search import parse_search

    now = datetime.now(UTC)
    entity_type, slash, entity_id = (item or "").partition("/")
    if item is not None and not slash:
        raise BadFilter(f"--item: {item!r:.80} is not TYPE/ID; write for example license/lic_1")
    return EventFilter(
        actions=tuple(action or ()),
        actor_id=actor,
        item=Item(entity_type, entity_id) if item is not None else None,
        since=parse_moment("--since", since, now) if since is not None else None,
        until=parse_moment("--until", until, now) if until is not None else None,
        search=parse_search(search, now) if search is not None else None,
    )


def _record(name: ExportAction, status: Status, data_dir: Path) -> None:
    """Record in the account's log what was done with an export."""
    from auditlog_cli.api_process import own_events
    from auditlog_cli.own_name import user_and_host
    from auditlog_producers import Actor, Context

    events, reason = own_events(data_dir, "auditlog-cli")
    if reason:
        say(f"note: not recorded in the audit log: {reason}")
    try:
        events.export(name, status.job, Actor(type="system", id=user_and_host()), Context())
    finally:
        events.close(10.0)


def _row(status: Status) -> tuple[str, ...]:
    job, ending = status.job, status.ending
    events = f"{ending.rows:,}" if ending else f"{status.progress.rows_done:,}"
    form = job.shape.format + ("" if job.shape.compression == "none" else f" {job.shape.compression}")
    expires = f"{ending.expires_at:%Y-%m-%d %H:%M}" if ending else ""
    return job.job_id, status.state, form, events, f"{job.created_at:%Y-%m-%d %H:%M}", expires

"""`auditlog check`: is anything missing?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import typer

from auditlog_cli import failures
from auditlog_cli.addresses import connect, consumer_settings
from auditlog_cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, OnlyPartition, Since
from auditlog_cli.tables import Column, write_table
from auditlog_cli.terminal import say, write, write_json
from auditlog_storage.moments import parse_moment

if TYPE_CHECKING:
    from auditlog_consumer.check import Report

FINDINGS_SHOWN_MAX: Final = 50

_COLUMNS: Final = (
    Column("Severity", "red"),
    Column("Partition", right=True),
    Column("Offsets", whole=True),
    Column("What is wrong"),
)


def check(
    partition: OnlyPartition = None,
    since: Since = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Check that every Kafka offset the ledger covers is stored, dead-lettered or explained.

    Exits 1 when an offset is missing or stored twice. It may run while consumers work. Events published
    again and holes in a source's sequence are warnings.
    """
    from auditlog_consumer.check import check as run

    moment = parse_moment("--since", since) if since is not None else None
    with connect(data_dir) as connection:
        report = run(connection, consumer_settings(data_dir), partition, moment)
    if as_json:
        _write_json(report)
    else:
        _write_findings(report)
        write(summary(report))
    if not report.ok:
        if not as_json:
            say("auditlog: `auditlog repair` says what can be mended; docs/operations.md, what else to do")
        raise typer.Exit(failures.FAILURE)


def summary(report: Report) -> str:
    """Return the result in one line."""
    counts = f"{report.accepted:,} stored, {report.rejected:,} dead-lettered"
    counts += f", {report.duplicates:,} duplicates" if report.duplicates else ""
    counts += f", {report.absent:,} offsets without a message" if report.absent else ""
    ranges = f"{report.ranges:,} {'range' if report.ranges == 1 else 'ranges'} of offsets"
    if not report.ranges:
        return "ok: nothing is recorded here yet"
    if report.ok:
        return f"ok: {ranges} add up: {counts}"
    return f"{report.errors:,} {'error' if report.errors == 1 else 'errors'} in {ranges}: {counts}"


def _write_findings(report: Report) -> None:
    rows = [
        (
            finding.severity,
            str(finding.partition) if finding.partition >= 0 else "",
            f"{finding.first_offset} to {finding.last_offset}" if finding.partition >= 0 else "",
            finding.message,
        )
        for finding in report.findings[:FINDINGS_SHOWN_MAX]
    ]
    if rows:
        write_table(_COLUMNS, rows)
    if len(report.findings) > len(rows):
        write(f"… and {len(report.findings) - len(rows):,} more; --json lists them")


def _write_json(report: Report) -> None:
    for finding in report.findings:
        write_json({"finding": asdict(finding)})
    counts = ("ranges", "accepted", "rejected", "duplicates", "absent", "lost", "errors", "omitted")
    write_json({"ok": report.ok} | {name: getattr(report, name) for name in counts})

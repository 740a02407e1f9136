"""`auditlog migrate`."""

from __future__ import annotations

from auditlog_cli.addresses import connect
from auditlog_cli.catalog_source import configured_catalog
from auditlog_cli.options import DEFAULT_DATA_DIR, DataDir
from auditlog_cli.terminal import say, write


def migrate(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Make or upgrade the database; running it again changes nothing."""
    from auditlog_storage.migrations import migrate as run

    catalog = configured_catalog()
    with connect(data_dir) as connection:
        report = run(connection, catalog)
        for step in report.applied:
            write(f"applied {step.version}: {step.name}")
        for name in report.keys_made:
            write(f"made the key {name} in audit_keys")
        if report.actions_changed:
            write(f"audit_actions now holds catalog {catalog.version} ({len(catalog.actions)} actions)")
        if not (report.applied or report.keys_made or report.actions_changed):
            write("nothing to do")
        write(f"database {connection.database} has version {report.version}")
    for user in report.users:
        say(f"note: {user.trouble}" if user.trouble else f"user {user.name} is ready")

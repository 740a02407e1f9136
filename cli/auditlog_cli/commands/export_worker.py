"""`auditlog export-worker`."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from auditlog_cli.addresses import connect
from auditlog_cli.options import DEFAULT_DATA_DIR, DataDir


def export_worker(
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON lines.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Work on exports, until SIGTERM or Ctrl-C. Run as many as you like, anywhere."""
    from auditlog_cli.export_jobs import export_settings
    from auditlog_cli.logs import configure_logs
    from auditlog_exports.worker import Worker

    configure_logs(log_json)
    with connect(data_dir) as connection:
        worker = Worker(export_settings(data_dir), connection)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        worker.run()

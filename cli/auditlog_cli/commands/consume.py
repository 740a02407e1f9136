"""`auditlog consume`."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from auditlog_cli.addresses import connect, consumer_settings
from auditlog_cli.options import DEFAULT_DATA_DIR, DataDir


def consume(
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON lines.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Consume: Kafka to ClickHouse, until SIGTERM or Ctrl-C. Run as many as there are partitions."""
    from auditlog_cli.logs import configure_logs
    from auditlog_consumer.process_memory import keep_memory
    from auditlog_consumer.service import consume as run

    configure_logs(log_json)
    keep_memory()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with connect(data_dir) as connection:
        run(consumer_settings(data_dir), connection, stop)

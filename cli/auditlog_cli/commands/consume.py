"""`auditlog consume`."""

from __future__ import annotations

import gc
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
    from auditlog_consumer.service import consume as run

    configure_logs(log_json)
    _collect_garbage_rarely()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with connect(data_dir) as connection:
        run(consumer_settings(data_dir), connection, stop)


def _collect_garbage_rarely() -> None:
    """Let Python look for cycles seldom: a consumer holds hundreds of thousands of messages and makes none.

    With Python's own thresholds that search took a third of the consumer's processor time.
    """
    gc.freeze()
    gc.set_threshold(500_000, 50, 100)

"""`auditlog consume`."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from typing import Annotated

import typer

from auditlog_cli.addresses import connect, consumer_settings
from auditlog_cli.options import DEFAULT_DATA_DIR, DataDir
from auditlog_schemas.errors import AuditError


def consume(
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON lines.")] = False,
    metrics_port: Annotated[
        int,
        typer.Option(
            "--metrics-port",
            envvar="AUDITLOG_METRICS_PORT",
            min=0,
            max=65_535,
            help="Serve Prometheus metrics at this port, see docs/monitoring.md; 0 serves none.",
        ),
    ] = 0,
    metrics_host: Annotated[
        str,
        typer.Option(
            "--metrics-host",
            envvar="AUDITLOG_METRICS_HOST",
            help="The address to serve them at; whoever reaches it can read them.",
        ),
    ] = "127.0.0.1",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Consume: Kafka to ClickHouse, until SIGTERM or Ctrl-C. Run as many as there are partitions."""
    import structlog

    from auditlog_cli.logs import configure_logs
    from auditlog_consumer.metrics_server import serving_metrics
    from auditlog_consumer.process_memory import keep_memory
    from auditlog_consumer.service import consume as run

    configure_logs(log_json)
    keep_memory()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = consumer_settings(data_dir)
    with ExitStack() as inside:
        connection = inside.enter_context(connect(data_dir))
        if metrics_port:
            inside.enter_context(serving_metrics(settings, metrics_host, metrics_port))
        try:
            run(settings, connection, stop)
        except AuditError as error:
            if log_json:
                # The line that is for people follows, and is no JSON.
                structlog.get_logger("auditlog.consumer").error("stopped", error=str(error))
            raise

"""`auditlog api`."""

from __future__ import annotations

from typing import Annotated

import typer

from auditlog_cli.options import DEFAULT_DATA_DIR, DataDir
from auditlog_cli.terminal import say


def api(
    host: Annotated[
        str | None, typer.Option(help="The address to listen on; AUDITLOG_API_HOST, else 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="AUDITLOG_API_PORT, else 8080; 0 is any free one."),
    ] = None,
    share_port: Annotated[
        bool, typer.Option("--share-port", help="Serve a port together with other processes of this machine.")
    ] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON lines.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Serve the HTTP API and the pages, until SIGTERM or Ctrl-C. Run as many as you like."""
    from auditlog_api.server import address_of, listening, serve
    from auditlog_api.settings import ApiSettings
    from auditlog_cli.api_process import api_app
    from auditlog_cli.logs import configure_logs

    configure_logs(log_json)
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = ApiSettings.load(**given)
    with api_app(settings, data_dir) as app, listening(settings.host, settings.port, share_port) as bound:
        say(f"the API is at {address_of(bound)}")
        serve(app, settings, bound)

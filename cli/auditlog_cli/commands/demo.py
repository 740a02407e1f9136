"""`auditlog demo`: a realistic day, from Kafka to ClickHouse."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from auditlog_cli import failures
from auditlog_cli.addresses import CLICKHOUSE, KAFKA
from auditlog_cli.options import DEFAULT_DATA_DIR
from auditlog_cli.terminal import say

if TYPE_CHECKING:
    from auditlog_cli.demo.performance import Performance
    from auditlog_cli.local_pipeline import LocalPipeline

CORS_ORIGINS: Final = "AUDITLOG_API_CORS_ORIGINS"
SIGN_IN_URL: Final = "AUDITLOG_API_SIGN_IN_URL"


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
    events: Annotated[int, typer.Option(min=1_000, help="How many events the day has.")] = 50_000,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            envvar="AUDITLOG_DATA_DIR",
            help=f"Where the data stays; without it {DEFAULT_DATA_DIR} with --keep, else nowhere.",
        ),
    ] = None,
) -> None:
    """Play a day of a licensing vendor: 50,000 events, 20 accounts, all actions, 200 bad messages.

    Starts a stack of its own, publishes, waits until all is stored, and shows what came out. With --keep it
    also serves the vendor's own application, with the audit log in it, and prints the links.
    """
    for variable in (KAFKA, CLICKHOUSE):
        if variable in os.environ:
            say(f"note: {variable} is set; the demo leaves it alone and uses a stack of its own")
    with _directory(data_dir, keep) as directory:
        adds_up = _play(directory, events, keep, stays=keep or data_dir is not None)
    if not adds_up:
        say("auditlog: the numbers do not add up, see above; please report it")
        raise typer.Exit(failures.FAILURE)


def _play(directory: Path, events: int, keep: bool, stays: bool) -> bool:
    from auditlog_cli.demo.performance import Performance
    from auditlog_cli.demo.report import write_what_to_try
    from auditlog_cli.happenings import Happenings
    from auditlog_cli.local_pipeline import LocalPipeline
    from auditlog_cli.own_name import data_dir_option, own_name
    from auditlog_local.ports import remembered_port

    happenings, all_ran = Happenings(), True
    host_port = remembered_port(directory / "host" / "port") if keep else 0
    host_url = f"http://127.0.0.1:{host_port}"
    with LocalPipeline(
        directory,
        partitions=8,
        consumers=1,
        notice=happenings.notice,
        on_event=happenings.on_event,
        api=keep,
        api_settings={CORS_ORIGINS: host_url, SIGN_IN_URL: f"{host_url}/audit-logs"},
    ) as pipeline:
        performance = Performance(pipeline, happenings, events)
        adds_up = performance.play()
        write_what_to_try(directory, performance.license_id, keep)
        say("")
        if keep:
            with _sample_host(pipeline, performance, host_port):
                say(f"running, with its data in {directory}; Ctrl-C stops it")
                all_ran = pipeline.run()
    if stays:
        say(f"stopped; `{own_name()} up{data_dir_option(directory)}` starts it again with its data")
    if not all_ran:
        raise typer.Exit(failures.FAILURE)
    return adds_up


@contextmanager
def _sample_host(pipeline: LocalPipeline, performance: Performance, port: int) -> Iterator[None]:
    """Serve the vendor's own application while inside, and say where."""
    from auditlog_api.viewer_tokens import ViewerKeys
    from auditlog_cli.demo.host.app import Host, host_app
    from auditlog_cli.demo.host.server import serving_host
    from auditlog_cli.demo.report import say_links
    from auditlog_cli.local_api import viewer_keys
    from auditlog_storage.filters import Item

    keys = ViewerKeys(viewer_keys(pipeline.stack.data_dir / "api"))
    first = Item("license", performance.license_id)
    host = Host(performance.vendor, pipeline.api_url, keys, first)
    with serving_host(host_app(host), port) as url:
        say_links(url, host)
        say("")
        yield


@contextmanager
def _directory(data_dir: Path | None, keep: bool) -> Iterator[Path]:
    """Yield where the data goes; a temporary directory is removed afterwards."""
    if data_dir is not None or keep:
        yield data_dir or DEFAULT_DATA_DIR
        return
    with tempfile.TemporaryDirectory(prefix="auditlog-demo-") as name:
        yield Path(name)

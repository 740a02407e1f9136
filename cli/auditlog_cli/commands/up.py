"""`auditlog up`: everything on this machine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditlog_cli.addresses import CLICKHOUSE, KAFKA
from auditlog_cli.options import DEFAULT_DATA_DIR, DataDir
from auditlog_cli.own_name import data_dir_option, own_name
from auditlog_cli.terminal import say

if TYPE_CHECKING:
    from auditlog_cli.local_pipeline import LocalPipeline


def up(
    partitions: Annotated[int, typer.Option(min=1, max=1024, help="Of the topics, when they are made.")] = 8,
    consumers: Annotated[int, typer.Option(min=1, max=64, help="Consumer processes.")] = 1,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Start Kafka, ClickHouse, the consumer and the API on this machine, until Ctrl-C.

    What runs elsewhere is used instead: set AUDITLOG_KAFKA or AUDITLOG_CLICKHOUSE_URL. Data is kept.
    What keeps failing is kept down and tells why, the rest goes on; then this exits 1.
    """
    from auditlog_cli import failures
    from auditlog_cli.happenings import Happenings
    from auditlog_cli.local_pipeline import LocalPipeline

    happenings = Happenings()
    with LocalPipeline(
        data_dir,
        partitions=partitions,
        consumers=consumers,
        notice=happenings.notice,
        on_event=happenings.on_event,
        kafka=os.environ.get(KAFKA),
        clickhouse_url=os.environ.get(CLICKHOUSE),
        api=True,
    ) as pipeline:
        say("")
        say(f"up after {happenings.seconds:.1f} s; data and logs are in {data_dir}; Ctrl-C stops everything")
        say("")
        _what_to_try(pipeline, data_dir)
        all_ran = pipeline.run()
    say(f"stopped; `{own_name()} up{data_dir_option(data_dir)}` goes on from here")
    if not all_ran:
        raise typer.Exit(failures.FAILURE)


def _what_to_try(pipeline: LocalPipeline, data_dir: Path) -> None:
    from auditlog_cli.local_api import TRIAL_ACCOUNT, trial_token

    name, option = own_name(), data_dir_option(data_dir)
    say("try, in another terminal:")
    say(f"  {name} catalog show license_reset --example | {name} publish -{option}")
    say(f"  {name} events --account acc_1{option}")
    say(f"  {name} doctor{option}")
    token = trial_token(pipeline.connection)
    say(f"  curl -H 'Authorization: Bearer {token}' {pipeline.api_url}/v1/accounts/{TRIAL_ACCOUNT}/events")
    say(f"  or in a browser: {pipeline.api_url}/sign-in?token={token}")
    say(f"  (the token is for {TRIAL_ACCOUNT} and for a day; `{name} token create` makes others)")
    say("for your own programs:")
    for variable, value in pipeline.environment.items():
        say(f"  export {variable}={shlex.quote(value)}")

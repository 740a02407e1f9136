"""`auditlog publish`: events from JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from auditlog_cli import failures
from auditlog_cli.catalog_source import configured_catalog
from auditlog_cli.options import DEFAULT_DATA_DIR, DataDir
from auditlog_cli.terminal import say

if TYPE_CHECKING:
    from auditlog_cli.publishing import Outcome
    from auditlog_schemas.errors import AuditError

PROBLEMS_SHOWN_MAX: Final = 100
SERVICE: Final = "auditlog-cli"


def publish(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(metavar="FILE.ndjson", help="One JSON event a line; - is stdin.")
    ],
    check: Annotated[bool, typer.Option("--check", help="Validate only; needs no Kafka.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Publish events from JSON lines; `auditlog catalog show ACTION` prints a line to start from.

    Missing event_id, occurred_at and source are filled in. Every good line is published, every bad one is
    reported with its number and field; then the exit code is 1.
    """
    problems = _Problems()
    if check:
        from auditlog_cli.publishing import check_lines

        outcome = check_lines(file, configured_catalog(), problems.report)
    else:
        outcome = _publish(file, data_dir, problems)
    _conclude(outcome, "valid" if check else "published", getattr(file, "name", "FILE"))


def _publish(file: typer.FileBinaryRead, data_dir: Path, problems: _Problems) -> Outcome:
    from auditlog_cli.addresses import consumer_settings
    from auditlog_cli.progress import progress_bar
    from auditlog_cli.publishing import LinePublisher
    from auditlog_consumer.topics import Topics
    from auditlog_producers import AuditProducer

    settings = consumer_settings(data_dir)
    # Asked first: an unreachable Kafka or a missing topic should not cost a delivery timeout.
    Topics(settings.kafka, settings.kafka_config).describe(settings.topic)
    with (
        progress_bar("publishing") as progress,
        AuditProducer(
            settings.kafka,
            service=SERVICE,
            topic=settings.topic,
            catalog=configured_catalog(),
            registry=settings.schema_registry_url,
            block_seconds_max=30.0,
            delivery_timeout_seconds=30.0,
            kafka_config=settings.kafka_config,
        ) as producer,
    ):
        return LinePublisher(producer, problems.report, progress).publish(file)


class _Problems:
    """Tells about bad lines, and about no more of them than a person reads."""

    def __init__(self) -> None:
        self._count = 0

    def report(self, line: int, problem: AuditError) -> None:
        self._count += 1
        if self._count <= PROBLEMS_SHOWN_MAX:
            say(f"line {line}: {problem}")
        elif self._count == PROBLEMS_SHOWN_MAX + 1:
            say("… more lines have problems; only their number is given below")


def _conclude(outcome: Outcome, done: str, name: str) -> None:
    parts = [f"{outcome.good:,} {'event' if outcome.good == 1 else 'events'} {done}"]
    parts += [f"{outcome.bad:,} refused"] if outcome.bad else []
    parts += [f"{outcome.undelivered:,} not delivered"] if outcome.undelivered else []
    say(", ".join(parts))
    if outcome.stopped_at is not None:
        go_on = f"tail -n +{outcome.stopped_at} {name} | auditlog publish -"
        say(f"auditlog: stopped at line {outcome.stopped_at}; go on later with: {go_on}")
    if outcome.reason is not None:
        say(f"auditlog: {failures.explanation(outcome.reason)}")
        raise typer.Exit(failures.exit_code(outcome.reason))
    if outcome.bad:
        raise typer.Exit(failures.FAILURE)

"""`auditlog repair`: mend what `auditlog check` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from auditlog_cli import failures
from auditlog_cli.addresses import connect, consumer_settings
from auditlog_cli.commands.check import summary
from auditlog_cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, OnlyPartition
from auditlog_cli.own_name import user_and_host
from auditlog_cli.tables import Column, write_table
from auditlog_cli.terminal import say, write, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditlog_consumer.repair import Done, Plan, Step

STEPS_SHOWN_MAX: Final = 50
OFFSETS_SHOWN_MAX: Final = 1_000

_WORDS: Final = {
    "apply_mask": "rebuild",
    "remove_copies": "remove",
    "store": "store",
    "dead_letter": "dead-letter",
    "explain": "for you",
}

_COLUMNS: Final = (
    Column("Step", "cyan", whole=True),
    Column("Partition", right=True),
    Column("Offsets", whole=True),
    Column("Count", right=True),
    Column("What"),
)


def repair(
    partition: OnlyPartition = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only said.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Mend what `check` finds: store missing events from Kafka again, remove rows stored twice.

    Without --yes it changes nothing, and exits 3 when there is something that it would do. What it cannot
    mend it explains, and exits 1. Consumers may go on working. Every removed row is recorded in the table
    audit_removals.
    """
    from auditlog_cli.api_process import own_key
    from auditlog_consumer.repair import make_plan
    from auditlog_consumer.repair import repair as run
    from auditlog_consumer.service import build_judge

    settings = consumer_settings(data_dir)
    judge = build_judge(settings)
    judge.own_key = own_key(data_dir)
    with connect(data_dir) as connection:
        if yes:
            _finish(run(connection, settings, judge, user_and_host(), partition), as_json)
        else:
            _show(make_plan(connection, settings, judge, partition), as_json)


def _show(plan: Plan, as_json: bool) -> None:
    _write_steps(plan.steps, as_json)
    if not plan.steps:
        if not as_json:
            write("nothing to mend")
        return
    if plan.can_mend:
        say("auditlog: nothing was changed; run `auditlog repair --yes` to take these steps")
        raise typer.Exit(failures.PLAN)
    raise typer.Exit(failures.FAILURE)


def _finish(done: Done, as_json: bool) -> None:
    _write_steps(done.left, as_json)
    if as_json:
        counts = {name: getattr(done, name) for name in ("stored", "dead_lettered", "removed")}
        write_json({"ok": done.report.ok} | counts)
    else:
        write(
            f"{done.stored:,} rows stored, {done.removed:,} surplus rows removed, "
            f"{done.dead_lettered:,} dead letters written"
        )
        write(summary(done.report))
    if not done.report.ok:
        raise typer.Exit(failures.FAILURE)


def _write_steps(steps: Sequence[Step], as_json: bool) -> None:
    if as_json:
        for step in steps:
            write_json({"step": _as_json(step)})
        return
    rows = [
        (
            _WORDS[step.action],
            str(step.partition) if step.partition >= 0 else "all",
            f"{step.first_offset} to {step.last_offset}" if step.partition >= 0 else "all",
            f"{step.count:,}" if step.count else "",
            step.text,
        )
        for step in steps[:STEPS_SHOWN_MAX]
    ]
    if rows:
        write_table(_COLUMNS, rows)
    if len(steps) > len(rows):
        write(f"… and {len(steps) - len(rows):,} more; --json lists all of them")


def _as_json(step: Step) -> dict[str, object]:
    return {
        "action": step.action,
        "topic_id": step.topic_id,
        "partition": step.partition,
        "first_offset": step.first_offset,
        "last_offset": step.last_offset,
        "count": step.count,
        "text": step.text,
        "offsets": sorted(step.offsets)[:OFFSETS_SHOWN_MAX],
    }

"""The command line: the commands, and what becomes of an error."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from auditlog_cli import failures
from auditlog_cli.commands import (
    api,
    catalog,
    check,
    consume,
    dead_letters,
    demo,
    doctor,
    events,
    export,
    export_worker,
    migrate,
    publish,
    repair,
    token,
    up,
    version,
)
from auditlog_cli.terminal import close_after_broken_pipe, say
from auditlog_schemas.errors import AuditError

RUN, READ, CARE = "Run it", "Read it", "Look after it"


class Commands(TyperGroup):
    """Turns our errors into one line and an exit code, whichever command raised them."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except AuditError as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            # More than one line only when the last lines of a process's log follow.
            for line in f"auditlog: {failures.explanation(error)}".splitlines():
                say(line)
            raise typer.Exit(failures.exit_code(error)) from None
        except BrokenPipeError:
            # `auditlog events | head`: the reader has seen enough.
            close_after_broken_pipe()
            raise typer.Exit(failures.OK) from None
        except KeyboardInterrupt:
            raise typer.Exit(failures.INTERRUPTED) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="An audit log: events over Kafka into ClickHouse, and back out as sentences.",
    epilog="Exit codes: 0 ok, 1 failure, 2 usage, 3 repair would do something, 5 Kafka or ClickHouse away.",
)


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """The options before the command."""


app.command("up", rich_help_panel=RUN)(up.up)
app.command("demo", rich_help_panel=RUN)(demo.demo)
app.command("publish", rich_help_panel=RUN)(publish.publish)
app.command("consume", rich_help_panel=RUN)(consume.consume)
app.command("api", rich_help_panel=RUN)(api.api)
app.command("export-worker", rich_help_panel=RUN)(export_worker.export_worker)
app.command("migrate", rich_help_panel=RUN)(migrate.migrate)
app.command("events", rich_help_panel=READ)(events.events)
app.add_typer(export.app, name="export", rich_help_panel=READ)
app.add_typer(catalog.app, name="catalog", rich_help_panel=READ)
app.add_typer(token.app, name="token", rich_help_panel=READ)
app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=CARE)
app.command("check", rich_help_panel=CARE)(check.check)
app.command("repair", rich_help_panel=CARE)(repair.repair)
app.command("doctor", rich_help_panel=CARE)(doctor.doctor)
app.command("version", rich_help_panel=CARE)(version.version)


def main() -> NoReturn:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a character gets its escape, not a crash.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        hint = (
            "; run `auditlog --debug …` to see where, and report it" if not isinstance(error, OSError) else ""
        )
        say(f"auditlog: {type(error).__name__}: {error}{hint}")
        sys.exit(failures.FAILURE)
    sys.exit(failures.OK)

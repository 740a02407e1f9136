"""`auditlog catalog`: which actions there are and what each needs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditlog_cli import failures
from auditlog_cli.catalog_source import configured_catalog, extra_catalog_files
from auditlog_cli.options import AsJson
from auditlog_cli.tables import Column, write_table
from auditlog_cli.terminal import say, write, write_json
from auditlog_schemas.errors import ConfigError

if TYPE_CHECKING:
    from auditlog_schemas.catalog import Action, Catalog

app = typer.Typer(no_args_is_help=True, help="The actions: list them, look one up, check your own files.")

_COLUMNS = (
    Column("Action", "cyan", whole=True),
    Column("Entity", whole=True),
    Column("Kind", whole=True),
    Column("Needs", "dim"),
)


@app.command("list")
def list_actions(
    group: Annotated[str | None, typer.Option(help="Only this group, for example Licenses.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the actions."""
    catalog = configured_catalog()
    actions = [action for action in catalog.actions.values() if group in (None, action.group)]
    if not actions:
        groups = ", ".join(dict.fromkeys(action.group for action in catalog.actions.values()))
        raise ConfigError(f"--group: no action is in {group!r}; the groups are {groups}")
    if as_json:
        for action in actions:
            write_json(_as_json(action))
        return
    rows = [(action.name, action.entity_type, action.kind, _needs(action)) for action in actions]
    write_table(_COLUMNS, rows)
    say(f"{len(actions)} actions, catalog {catalog.version}; `auditlog catalog show ACTION` explains one")


@app.command("show")
def show(
    action: Annotated[str, typer.Argument(metavar="ACTION")],
    example: Annotated[
        bool, typer.Option("--example", help="Only the smallest event, as a line for `auditlog publish -`.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Explain one action, with its smallest event."""
    catalog = configured_catalog()
    found = catalog.actions.get(action)
    if found is None:
        raise ConfigError(f"no action {action!r} in the catalog{_close_to(action, catalog)}")
    if as_json or example:
        write_json(_example(found) if example else _as_json(found))
        return
    entity_type = catalog.entity_types[found.entity_type]
    facts = {
        "group": found.group,
        "acts on": f"{entity_type.name} ({entity_type.title})",
        "kind": found.kind,
        "reads as": found.sentence,
        "needs": _needs(found) or "nothing more",
        "redacted": ", ".join(sorted(found.sensitive)) or "nothing",
        "version": str(found.version),
    }
    write(found.name)
    for name, value in facts.items():
        write(f"  {name:<9} {value}")
    write()
    write_json(_example(found))


@app.command("check")
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES]", help="Default: those of AUDITLOG_CATALOG.")
    ] = None,
) -> None:
    """Check catalog files together with the built-in catalog."""
    from auditlog_schemas.catalog_file import load_catalog

    paths = tuple(files or extra_catalog_files())
    builtin = load_catalog()
    try:
        catalog = load_catalog(paths)
    except ConfigError as error:
        say(f"auditlog: {error}")
        raise typer.Exit(failures.FAILURE) from None
    added = len(catalog.actions) - len(builtin.actions)
    files_read = (
        f"{len(paths)} {'file adds' if len(paths) == 1 else 'files add'} {added}"
        if paths
        else "no extra file"
    )
    write(f"ok: {len(catalog.actions)} actions, catalog {catalog.version} ({files_read})")


def _needs(action: Action) -> str:
    needs = ["changes"] if action.changes_required else []
    needs += [f"metadata.{key}" for key in action.required_metadata]
    needs += [f"related {entity_type}" for entity_type in action.required_related]
    return ", ".join(needs)


def _as_json(action: Action) -> dict[str, Any]:
    return asdict(action) | {"sensitive": sorted(action.sensitive)}


def _close_to(name: str, catalog: Catalog) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, catalog.actions, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; see `auditlog catalog list`"


def _example(action: Action) -> dict[str, Any]:
    """Return the smallest event of an action, for people to copy."""
    example: dict[str, Any] = {
        "account_id": "acc_1",
        "action": action.name,
        "entity": {"type": action.entity_type, "id": f"{action.entity_type}_1"},
        "actor": {"type": "platform_user", "id": "usr_1", "name": "Ada"},
    }
    if action.required_related:
        example["related"] = [{"type": item, "id": f"{item}_1"} for item in action.required_related]
    if action.changes_required:
        example["changes"] = [{"field": "name", "before": '"old"', "after": '"new"'}]
    if action.required_metadata:
        example["metadata"] = dict.fromkeys(action.required_metadata, "…")
    return example

"""`auditlog token`: the tokens that people and programs read the log with over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from auditlog_cli.addresses import connect
from auditlog_cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from auditlog_cli.own_name import user_and_host
from auditlog_cli.tables import Column, write_table
from auditlog_cli.terminal import say, write, write_json
from auditlog_schemas.errors import BadFilter, NotFound

if TYPE_CHECKING:
    from datetime import datetime

    from auditlog_api.own_events import OwnEvents
    from auditlog_producers import Actor, Context
    from auditlog_storage.tokens import Token

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke tokens of the HTTP API.")

_UNITS: Final = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

_COLUMNS: Final = (
    Column("Token", "cyan", whole=True),
    Column("Account"),
    Column("Scope"),
    Column("Name", width=12),
    Column("Created (UTC)", "dim", whole=True, wide=True),
    Column("Last used (UTC)", "dim", whole=True),
    Column("State", whole=True),
)


@app.command("create")
def create(
    scope: Annotated[
        Literal["read", "export", "admin", "operator"],
        typer.Option(help="What it may do; operator reads every account's log, and is recorded in each."),
    ],
    account: Annotated[str | None, typer.Option(help="Whose log; none with scope operator.")] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it is good: 8h, 90d; else for ever.")
    ] = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a token. It is shown this once: only its SHA-256 is stored."""
    from auditlog_api.new_token import NAME_CHARACTERS_MAX, made_token
    from auditlog_storage.filters import check_account
    from auditlog_storage.tokens import TokenTable, token_json

    if (scope == "operator") == (account is not None):
        raise BadFilter("--account: is needed, except with --scope operator")
    if len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        raise BadFilter(f"--name: at most {NAME_CHARACTERS_MAX} characters, none of them a control character")
    if account is not None:
        check_account(account)
    text, token = made_token(
        account_id=account or "",
        scope=scope,
        name=name,
        created_by=user_and_host(),
        expires_in_seconds=_seconds(expires) if expires is not None else None,
    )
    with connect(data_dir) as connection, _own_events(data_dir) as own_events:
        TokenTable(connection).add(token)
        own_events.token_created(token, *_by_whom())
    if as_json:
        write_json(token_json(token) | {"token": text})
        return
    write(text)
    until = f"until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "until it is revoked"
    say(f"{token.token_id}, scope {scope}, good {until}; keep it now, it is not shown again")


@app.command("list")
def list_tokens(
    account: Annotated[str | None, typer.Option(help="Only this account's.")] = None,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """List the newest tokens, revoked and expired ones included."""
    from auditlog_storage.tokens import TokenTable, token_json

    with connect(data_dir) as connection:
        tokens = TokenTable(connection).tokens(account)
    if as_json:
        for token in tokens:
            write_json(token_json(token))
        return
    if not tokens:
        say("no tokens")
        return
    write_table(_COLUMNS, [_row(token) for token in tokens])


@app.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN_ID", help="As `auditlog token list` shows it.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Revoke a token. Every API process refuses it within some seconds."""
    from auditlog_api.token_text import PREFIX, token_id_of, token_sha256
    from auditlog_storage.tokens import TokenTable

    if token_id.startswith(PREFIX):
        # Somebody has the token itself, maybe from where it leaked.
        token_id = token_id_of(token_sha256(token_id))
    with connect(data_dir) as connection, _own_events(data_dir) as own_events:
        try:
            token, revoked_now = TokenTable(connection).revoke(token_id, None, user_and_host())
        except NotFound:
            raise NotFound(f"there is no token {token_id}; see `auditlog token list`") from None
        if revoked_now:
            own_events.token_revoked(token, *_by_whom())
    say(f"{token.token_id} is revoked" if revoked_now else f"{token.token_id} was revoked before")


@contextmanager
def _own_events(data_dir: Path) -> Iterator[OwnEvents]:
    """Yield what records in the audit log what is done with tokens; closing it waits for Kafka."""
    from auditlog_cli.api_process import own_events

    events, reason = own_events(data_dir, "auditlog-cli")
    if reason:
        say(f"note: not recorded in the audit log: {reason}")
    try:
        yield events
    finally:
        events.close(10.0)


def _by_whom() -> tuple[Actor, Context]:
    from auditlog_producers import Actor, Context

    return Actor(type="system", id=user_and_host()), Context()


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d{1,6})\s*([mhdw])", text.strip().lower())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= 10 * 366 * 86_400:
        raise BadFilter(f"--expires: {text!r:.40} is not a time of at most ten years; write 8h, 90d or 52w")
    return seconds


def _row(token: Token) -> tuple[str, ...]:
    return (
        token.token_id,
        token.account_id,
        token.scope,
        token.name,
        _minute(token.created_at),
        _minute(token.used_at),
        _state(token),
    )


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else "never"


def _state(token: Token) -> str:
    from datetime import UTC, datetime

    if token.revoked_at:
        return "revoked"
    if token.expires_at is None:
        return "good"
    return "expired" if token.expires_at <= datetime.now(UTC) else f"until {token.expires_at:%Y-%m-%d %H:%M}"

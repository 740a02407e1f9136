"""`auditlog events`: an account's log, or one item's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from auditlog_cli.addresses import connect
from auditlog_cli.catalog_source import configured_catalog
from auditlog_cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, Since, Until
from auditlog_cli.sentences import SENTENCE_CHARACTERS_MAX, changes_in_words
from auditlog_cli.tables import Column, column_time, write_table
from auditlog_cli.terminal import is_terminal, say, write_json
from auditlog_schemas.errors import BadFilter, QueryLimitReached
from auditlog_schemas.inert import inert, shortened
from auditlog_storage.event_json import event_json
from auditlog_storage.moments import parse_moment

if TYPE_CHECKING:
    from auditlog_schemas.catalog import Catalog
    from auditlog_storage.filters import EventFilter, Item
    from auditlog_storage.reader import LogReader, Page
    from auditlog_storage.search import Search
    from auditlog_storage.stored_event import StoredEvent

SHOWN_CHARACTERS_MAX: Final = 80
"""Of a search with a mistake."""

LARGE_EVENTS_MAX: Final = 50
"""Events of a page when they are so large that a longer one is refused."""

_COLUMNS: Final = (
    Column("Time (UTC)", "dim", width=20, whole=True),
    Column("Action", "cyan", width=20, wide=True),
    Column("What happened", width=36),
    Column("Changes", "dim"),
)


def events(
    account: Annotated[str, typer.Option(help="Whose log.")],
    search: Annotated[
        str | None,
        typer.Argument(
            metavar="[SEARCH]",
            help="Only what matches, for example 'action:license.* -actor:usr_7 created:3d'; in quotes.",
        ),
    ] = None,
    item: Annotated[
        str | None, typer.Option(metavar="TYPE/ID", help="Events of one item, for example license/lic_1.")
    ] = None,
    action: Annotated[
        list[str] | None, typer.Option(help="Only this action; may be given several times.")
    ] = None,
    actor: Annotated[str | None, typer.Option(metavar="ID", help="Only this actor's.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="No limit.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Read an account's events as sentences, newest first."""
    from auditlog_storage.filters import EventFilter
    from auditlog_storage.reader import LogReader

    filter = EventFilter(
        actions=tuple(action or ()),
        actor_id=actor,
        item=_item(item) if item is not None else None,
        since=parse_moment("--since", since) if since is not None else None,
        until=parse_moment("--until", until) if until is not None else None,
        search=_search(search) if search is not None else None,
    )
    catalog = configured_catalog()
    with connect(data_dir) as connection:
        reader = LogReader(connection)
        shown, more = 0, False
        for page in _pages(reader, account, filter, None if everything else limit):
            _show(page.events, catalog, as_json, heading=shown == 0)
            shown += len(page.events)
            more = page.next_cursor is not None
        if not shown:
            _explain_nothing(reader, account, filter, catalog)
    if more and is_terminal():
        say(f"the newest {shown:,}; --limit N or --all shows more")


def _pages(reader: LogReader, account: str, filter: EventFilter, limit: int | None) -> Iterator[Page]:
    """Yield pages until there are `limit` events, or no more."""
    from auditlog_storage.reader import PAGE_EVENTS_MAX

    cursor: str | None = None
    left, size_max = limit, PAGE_EVENTS_MAX
    while True:
        size = size_max if left is None else min(left, size_max)
        try:
            page = reader.timeline(account, filter, size, cursor)
        except QueryLimitReached:
            if size <= LARGE_EVENTS_MAX:
                raise
            size_max = LARGE_EVENTS_MAX
            continue
        cursor = page.next_cursor
        if page.events:
            yield page
        if left is not None:
            left -= len(page.events)
        if cursor is None or left == 0:
            return


def _show(page: tuple[StoredEvent, ...], catalog: Catalog, as_json: bool, heading: bool) -> None:
    if as_json:
        for stored in page:
            write_json(event_json(stored))
        return
    for_person = is_terminal()
    rows = [
        (
            column_time(stored.event.occurred_at, for_person),
            stored.event.action,
            shortened(catalog.sentence(stored.event), SENTENCE_CHARACTERS_MAX),
            changes_in_words(stored.event),
        )
        for stored in page
    ]
    write_table(_COLUMNS, rows, heading)


def _explain_nothing(reader: LogReader, account: str, filter: EventFilter, catalog: Catalog) -> None:
    unknown = [name for name in filter.actions if name not in catalog.actions]
    if unknown:
        say(f"no events; {unknown[0]!r} is not in the catalog, see `auditlog catalog list`")
    elif reader.timeline(account, limit=1).events:
        say(f"no events of account {account} match")
    else:
        say(f"account {account} has no events")


def _search(text: str) -> Search:
    from auditlog_storage.search import BadSearch, parse_search

    try:
        return parse_search(text, datetime.now(UTC))
    except BadSearch as mistake:
        for line in pointed_out(text, mistake.position):
            say(line)
        raise


def pointed_out(text: str, position: int) -> tuple[str, str]:
    """Return the text around a position, and a line with a caret under it."""
    from rich.cells import cell_len

    first = max(0, position - SHOWN_CHARACTERS_MAX // 2)
    before = ("…" if first else "") + inert(text[first:position])
    behind = inert(text[position : first + SHOWN_CHARACTERS_MAX])
    more = "…" if first + SHOWN_CHARACTERS_MAX < len(text) else ""
    return before + behind + more, " " * cell_len(before) + "^"


def _item(text: str) -> Item:
    from auditlog_storage.filters import Item

    entity_type, slash, entity_id = text.partition("/")
    if not slash:
        raise BadFilter(f"--item: {text!r:.80} is not TYPE/ID; write for example license/lic_1")
    return Item(entity_type, entity_id)

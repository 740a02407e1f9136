"""The demonstration's last page."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from auditlog_cli.commands.check import summary
from auditlog_cli.demo.names import ACCOUNTS
from auditlog_cli.own_name import data_dir_option, own_name
from auditlog_cli.sentences import changes_in_words
from auditlog_cli.terminal import data_console, is_terminal, say, write
from auditlog_schemas.inert import inert
from auditlog_storage.reader import LogReader

if TYPE_CHECKING:
    from auditlog_cli.demo.host.app import Host
    from auditlog_cli.demo.result import Result
    from auditlog_schemas.catalog import Catalog
    from auditlog_storage.connection import Connection

ACTIONS_SHOWN: Final = 8
STORY_SHOWN_MAX: Final = 20
RULES_WIDTH: Final = 72
BAR_WIDTH: Final = 28
BUSIEST: Final = ACCOUNTS[0]


def write_result(result: Result) -> None:
    """Write the numbers, and whether they add up."""
    published, dead = result.published, result.dead.total()
    bad = f"{published.events:,} events and {published.bad.total():,} bad messages"
    _heading("What went in came out")
    write(f"  published      {published.messages:>8,}   {bad}")
    write(f"  stored         {result.stored:>8,}")
    rules = ", ".join(f"{rule} {count}" for rule, count in sorted(result.dead.items()))
    first, *further = wrap(rules, width=RULES_WIDTH) or [""]
    write(f"  dead-lettered  {dead:>8,}   {first}")
    for line in further:
        write(f"{'':<28}{line}")
    faults = result.faults()
    for fault in faults:
        write(f"  WRONG          {fault}")
    if not faults:
        write(f"  add up              ✓   {published.messages:,} = {result.stored:,} + {dead:,}")
    write(f"  check                   {summary(result.report)}")


def write_busiest_actions(connection: Connection) -> None:
    """Write the most frequent actions of the busiest account."""
    counts = LogReader(connection).counts_by_action(BUSIEST)
    _heading(f"Busiest actions of {BUSIEST} ({sum(counts.values()):,} events, {len(counts)} actions)")
    shown = list(counts.items())[:ACTIONS_SHOWN]
    most = shown[0][1] if shown else 1
    for action, count in shown:
        write(f"  {action:<28}{count:>7,}  " + "█" * max(1, round(BAR_WIDTH * count / most)))


def write_story(connection: Connection, catalog: Catalog, license_id: str) -> None:
    """Write one license's history, oldest first."""
    page = LogReader(connection).item(BUSIEST, "license", license_id, limit=STORY_SHOWN_MAX)
    _heading(f"The day of license/{license_id}")
    for stored in reversed(page.events):
        changes = changes_in_words(stored.event)
        sentence = catalog.sentence(stored.event)
        write(f"  {stored.event.occurred_at:%H:%M:%S}  {sentence}" + (f" ({changes})" if changes else ""))


def write_what_to_try(data_dir: Path, license_id: str, stays: bool) -> None:
    """Write commands that work now, or after `demo --keep`."""
    name, option = own_name(), data_dir_option(data_dir) if stays else ""
    if stays:
        _heading("Try next, in another terminal")
    else:
        _heading(f"Try next: `{name} demo --keep` leaves all this running; then, in another terminal")
    for arguments in (
        f"events --account {BUSIEST}",
        f"events --account {BUSIEST} --item license/{license_id}",
        f"events --account {BUSIEST} --action license_disabled --since 6h --json",
        "dead-letters list --rule unknown_action",
        "check",
        "doctor",
    ):
        write(f"  {name} {arguments}{option}")


def say_links(url: str, host: Host) -> None:
    """Say where the sample host is, and a page of each kind with an item's log at its bottom."""
    licenses = host.vendor.licenses
    license = next((one for one in licenses if one.id == host.first.id), licenses[-1])
    links = {"Settings: Audit logs": "audit-logs", "A license": f"license/{license.id}"}
    if license.product:
        links["A product"] = f"product/{license.product.id}"
    if license.order:
        links["An order"] = f"order/{license.order.id}"
    if license.order and license.order.customer:
        links["A customer"] = f"customer/{license.order.customer.id}"
    say("in a browser:")
    for name, path in links.items():
        say(f"  {name:<22}{url}/{path}")


def _heading(text: str) -> None:
    write()
    if not is_terminal():
        write(text)
        return
    from rich.text import Text

    data_console().print(Text(inert(text), style="bold"))

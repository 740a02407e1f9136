"""Pages with something on them: the API, the sample host, a vendor's weeks, an account of hostile events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

from auditlog_cli.demo.day import Day
from auditlog_cli.demo.host.app import Host, host_app
from auditlog_cli.demo.host.server import serving_host
from auditlog_cli.demo.names import ACCOUNTS
from auditlog_cli.demo.vendor import Vendor
from auditlog_exports.jobs import Jobs
from auditlog_exports.object_store import ObjectStore
from auditlog_exports.settings import ExportSettings
from auditlog_exports.worker import Worker
from auditlog_local.ports import free_ports
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.event import AuditEvent
from auditlog_storage.connection import Connection
from auditlog_storage.filters import Item
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import StorageSettings
from kit.served_api import ServedApi, serving
from storage.event_log import Log

ACCOUNT: Final = ACCOUNTS[0]
EMPTY: Final = "acc_empty"
HOSTILE: Final = "acc_hostile"
DAYS: Final = 14
# The busiest of the demonstration's twenty accounts has somewhat more than a quarter of a day's events.
SHARE: Final = 0.28

SCRIPT: Final = "<script>document.title='run'</script><img src=x onerror=document.title='run'>"
BIDI: Final = "gpj.\u202etxt\u2066 zero\u200bwidth\ufeff"
LINES: Final = "one\r\nX-Injected: two\x1b[31m\x00"
FORMULA: Final = '=HYPERLINK("http://evil.example","x")'
LONG: Final = "a" * 32_000


@dataclass
class Stage:
    """Where things are, and what is on them."""

    api: ServedApi
    host_url: str
    vendor: Vendor
    events: list[AuditEvent]
    story: Item
    tokens: dict[str, str]
    exports: ExportSettings

    def place(self, path: str = "/audit-logs", account: str = ACCOUNT) -> str:
        return f"{self.api.url}/accounts/{account}{path}"

    def work_once(self) -> None:
        """Let a worker do the exports that wait for one."""
        Worker(self.exports, self.api.connection).work_once()


@contextmanager
def pages_stage(clickhouse_url: str, events_a_day: int) -> Iterator[Stage]:
    """Fill a database and serve it while inside.

    Args:
        clickhouse_url: of a database that may be made.
        events_a_day: of the account whose pages are looked at.
    """
    with Connection(StorageSettings.load(url=clickhouse_url)) as connection:
        catalog = load_catalog()
        migrate(connection, catalog)
        log = Log(connection, catalog)
        log.received_at = datetime.now(UTC)
        days = _days(datetime.now(UTC) - timedelta(minutes=3), int(events_a_day / SHARE))
        events = [event for day in days for event in _of_account(day)]
        log.store(*events, *(log.event(**fields) for fields in _hostile()))
    (port,) = free_ports(1)
    host_url = f"http://127.0.0.1:{port}"
    sign_in_url = f"{host_url}/audit-logs"
    with (
        _exports(clickhouse_url) as jobs,
        serving(
            clickhouse_url, catalog, exports=jobs, cors_origins=(host_url,), sign_in_url=sign_in_url
        ) as api,
    ):
        last = days[-1]
        story = Item("license", last.story()[1])
        host = Host(last.vendors[ACCOUNT], api.url, api.backend.viewer_keys, story)
        with serving_host(host_app(host), port):
            tokens = {account: api.token(account, "export") for account in (ACCOUNT, EMPTY, HOSTILE)}
            yield Stage(api, host_url, host.vendor, events, story, tokens, jobs.settings)


@contextmanager
def _exports(clickhouse_url: str) -> Iterator[Jobs]:
    with (
        TemporaryDirectory(prefix="auditlog-pages-") as directory,
        Connection(StorageSettings.load(url=clickhouse_url)) as connection,
    ):
        settings = ExportSettings.load(url=Path(directory).as_uri(), part_rows_max=200)
        yield Jobs(settings, ObjectStore(settings.url), connection)


def _days(end: datetime, events_a_day: int) -> list[Day]:
    return [Day(end - timedelta(days=ago), events_a_day, seed=42 + ago) for ago in reversed(range(DAYS))]


def _of_account(day: Day) -> list[AuditEvent]:
    return [event for event in day.events() if event.account_id == ACCOUNT]


def _hostile() -> Iterator[dict[str, Any]]:
    start = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1_000_000)
    for number, text in enumerate((SCRIPT, BIDI, LINES, FORMULA, LONG)):
        short = text[:200]
        yield {
            "event_id": str(UUID(int=(7 << 76) | (2 << 62) | number + 1)),
            "account_id": HOSTILE,
            "occurred_at": start + number * 1_000_000,
            "entity": {"type": "license", "id": f"a/b {number} '\"&?#%2F", "name": short},
            "actor": {
                "type": "customer",
                "id": f"c{number}",
                "name": short,
                "email": short,
                "impersonator_id": short,
            },
            "related": [{"type": "order", "id": short, "name": short}],
            "source": {"service": short, "instance_id": short, "sequence": 1},
            "context": {"ip": short, "user_agent": short, "request_id": short},
            "changes": [
                {"field": short, "before": None, "after": f'"{text}"'},
                {"field": "plain", "before": text, "after": "5"},
            ],
            "metadata": {short[:40]: short},
        }

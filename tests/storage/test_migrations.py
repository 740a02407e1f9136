from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from uuid import uuid4

import pyarrow as pa
import pytest

from auditlog_schemas.catalog import Catalog
from auditlog_schemas.errors import TerminalError
from auditlog_storage.actions import action_rows
from auditlog_storage.connection import Connection
from auditlog_storage.filters import EventFilter
from auditlog_storage.migrations import MIGRATIONS, applied_migrations, migrate
from auditlog_storage.reader import LogReader
from auditlog_storage.tables import (
    AUDIT_EVENTS,
    AUDIT_MIGRATIONS,
    DAY_COUNTS,
    PAGE_SETTINGS,
    READER_INDEXES,
    VALUE_COUNTS,
)
from storage.event_log import Log

ACTIONS = (
    "SELECT action, action_group, entity_type, kind, sentence, version FROM audit_actions ORDER BY action"
)
OBJECTS = "SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name"
OURS = "database = currentDatabase() AND table = 'audit_events'"
FILES_OF_IDS = f"SELECT substreams FROM system.parts_columns WHERE active AND column = 'entity_id' AND {OURS}"
OF_EVENTS = "database = currentDatabase() AND name = 'audit_events'"
EXPECTED_OBJECTS = [
    "audit_actions",
    "audit_claims",
    "audit_events",
    "audit_keys",
    "audit_log_v1",
    "audit_migrations",
    "audit_ranges",
    "audit_removals",
    "audit_token_uses",
    "audit_tokens",
]


def _objects(connection: Connection) -> list[str]:
    return [name for (name,) in connection.query_rows(OBJECTS)]


def test_versions_are_numbered_without_holes() -> None:
    assert [step.version for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


@pytest.mark.integration
def test_from_nothing_and_again(unmade: Connection, catalog: Catalog) -> None:
    report = migrate(unmade, catalog)
    assert [step.version for step in report.applied] == [step.version for step in MIGRATIONS]
    assert report.version == MIGRATIONS[-1].version
    assert report.actions_changed
    assert _objects(unmade) == EXPECTED_OBJECTS
    assert unmade.query_rows(ACTIONS) == [
        (a.name, a.group, a.entity_type, a.kind, a.sentence, a.version)
        for a in sorted(catalog.actions.values(), key=lambda a: a.name)
    ]
    again = migrate(unmade, catalog)
    assert (again.applied, again.keys_made, again.actions_changed) == ((), (), False)
    assert applied_migrations(unmade) == [
        replace(
            step, applied_at=step.applied_at.replace(microsecond=step.applied_at.microsecond // 1000 * 1000)
        )
        for step in report.applied
    ]


@pytest.mark.integration
def test_by_threads_at_once(unmade: Connection, catalog: Catalog) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: migrate(unmade, catalog), range(4)))
    assert _objects(unmade) == EXPECTED_OBJECTS
    assert len(applied_migrations(unmade)) == len(MIGRATIONS)
    assert unmade.query_rows("SELECT count() FROM audit_actions") == [(len(catalog.actions),)]


MIGRATE = """
import sys
from auditlog_schemas.catalog_file import load_catalog
from auditlog_storage.connection import Connection
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import StorageSettings

sys.stdin.readline()
with Connection(StorageSettings.load()) as connection:
    migrate(connection, load_catalog())
"""


@pytest.mark.integration
def test_by_processes_at_once(unmade: Connection, catalog: Catalog) -> None:
    environment = os.environ | {"AUDITLOG_CLICKHOUSE_URL": unmade.settings.url.get_secret_value()}
    processes = [
        subprocess.Popen([sys.executable, "-c", MIGRATE], stdin=subprocess.PIPE, env=environment, text=True)
        for _ in range(2)
    ]
    for process in processes:
        process.communicate("go\n", timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    assert _objects(unmade) == EXPECTED_OBJECTS
    assert len(applied_migrations(unmade)) == len(MIGRATIONS)
    assert unmade.query_rows("SELECT count() FROM audit_actions") == [(len(catalog.actions),)]


@pytest.mark.integration
def test_what_a_crash_left_is_completed(unmade: Connection, catalog: Catalog) -> None:
    unmade.command(f"CREATE DATABASE {unmade.database}", in_database=False)
    unmade.command(AUDIT_MIGRATIONS.create())
    unmade.command(AUDIT_EVENTS.create())
    report = migrate(unmade, catalog)
    assert [step.version for step in report.applied] == [step.version for step in MIGRATIONS]
    assert _objects(unmade) == EXPECTED_OBJECTS


# As the first version made it.
OLD_EVENTS = replace(
    AUDIT_EVENTS,
    extras=tuple(
        extra for extra in AUDIT_EVENTS.extras if extra not in (*READER_INDEXES, DAY_COUNTS, *VALUE_COUNTS)
    ),
    settings={name: value for name, value in AUDIT_EVENTS.settings.items() if name not in PAGE_SETTINGS},
)


def _definition(connection: Connection) -> list[str]:
    """Return the lines of the table's definition, in any order, and its settings in the order of names."""
    [(sql,)] = connection.query_rows("SELECT create_table_query FROM system.tables WHERE " + OF_EVENTS)
    body, settings = sql.replace(f"{connection.database}.", "").split(" SETTINGS ")
    return [
        *sorted(re.split(r", (?=INDEX|PROJECTION|CONSTRAINT)|\) ENGINE", body)),
        *sorted(settings.split(", ")),
    ]


@pytest.mark.integration
def test_an_old_table_becomes_a_new_one(unmade: Connection, log: Log, catalog: Catalog) -> None:
    unmade.command(f"CREATE DATABASE {unmade.database}", in_database=False)
    unmade.command(OLD_EVENTS.create())
    assert _definition(unmade) != _definition(log.connection)
    migrate(unmade, catalog)
    assert _definition(unmade) == _definition(log.connection)


@pytest.mark.integration
def test_rows_from_before_are_counted_too_and_get_fewer_files(unmade: Connection, catalog: Catalog) -> None:
    unmade.command(f"CREATE DATABASE {unmade.database}", in_database=False)
    unmade.command(OLD_EVENTS.create())
    log = Log(unmade, catalog)
    log.writer.insert(log.batch([log.event() for _ in range(3)]), uuid4().hex)
    assert unmade.query_rows(FILES_OF_IDS) == [(["entity_id.size", "entity_id"],)]
    migrate(unmade, catalog)
    log.store(*(log.event() for _ in range(2)))
    reader = LogReader(unmade)

    def is_counted() -> bool:
        facets = [reader.facet("acc_1", EventFilter(), field).total for field in ("actor", "ip", "entity")]
        counts = reader.counts_by_action("acc_1"), reader.histogram("acc_1").total, facets
        return counts == ({"license_updated": 5}, 5, [5, 5, 5])

    assert is_counted()
    deadline = time.monotonic() + 60
    while unmade.query_rows("SELECT count() FROM system.mutations WHERE NOT is_done AND " + OURS) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert is_counted()
    unmade.command("OPTIMIZE TABLE audit_events FINAL")
    assert unmade.query_rows("SELECT count() FROM system.parts WHERE active AND " + OURS) == [(1,)]
    names = "SELECT name FROM system.projection_parts WHERE active AND " + OURS + " ORDER BY name"
    expected = ["by_offset", "counts_by_actor", "counts_by_address", "counts_by_day"]
    assert unmade.query_rows(names) == [(name,) for name in expected]
    assert unmade.query_rows(FILES_OF_IDS) == [(["entity_id"],)]
    assert is_counted()


@pytest.mark.integration
def test_a_newer_database_is_left_alone(unmade: Connection, catalog: Catalog) -> None:
    migrate(unmade, catalog)
    row = {"version": 9_999, "name": "from the future", "applied_at": datetime(2030, 1, 1, tzinfo=UTC)}
    batch = pa.RecordBatch.from_pylist([row], schema=AUDIT_MIGRATIONS.rows)
    unmade.insert_batch(AUDIT_MIGRATIONS.name, batch, token=None)
    with pytest.raises(
        TerminalError, match=rf"has version 9999, this software knows up to {MIGRATIONS[-1].version}: install"
    ):
        migrate(unmade, catalog)


def _changed(catalog: Catalog) -> Catalog:
    actions = dict(catalog.actions)
    del actions["device_reset"]
    actions["license_reset"] = replace(actions["license_reset"], sentence="it's {entity} \\ 😀", version=2)
    actions["invoice_sent"] = replace(actions["order_created"], name="invoice_sent", kind="sent")
    return Catalog(MappingProxyType(actions), catalog.entity_types)


@pytest.mark.integration
def test_actions_follow_the_catalog(unmade: Connection, catalog: Catalog) -> None:
    migrate(unmade, catalog)
    changed = _changed(catalog)
    report = migrate(unmade, changed)
    assert (report.applied, report.actions_changed) == ((), True)
    stored = {row[0]: row[1:] for row in unmade.query_rows(ACTIONS)}
    assert stored.keys() == changed.actions.keys()
    assert stored["license_reset"][-2:] == ("it's {entity} \\ 😀", 2)
    assert "device_reset" not in stored
    assert _objects(unmade) == EXPECTED_OBJECTS
    assert migrate(unmade, catalog).actions_changed
    assert unmade.query_rows("SELECT count() FROM audit_actions") == [(len(catalog.actions),)]


@pytest.mark.integration
def test_two_catalogs_at_once_leave_one_of_them_whole(unmade: Connection, catalog: Catalog) -> None:
    migrate(unmade, catalog)
    catalogs = [_changed(catalog), catalog] * 4
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda one: migrate(unmade, one), catalogs))
    [(versions, rows)] = unmade.query_rows(
        "SELECT groupUniqArray(catalog_version), count() FROM audit_actions"
    )
    [winner] = [one for one in catalogs[:2] if [one.version] == versions]
    assert rows == len(action_rows(winner))
    assert _objects(unmade) == EXPECTED_OBJECTS

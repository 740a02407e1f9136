"""The keys that all processes of an installation share."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args
from urllib.parse import unquote_plus

import pyarrow as pa
import pytest
from urllib3 import PoolManager

from auditlog_schemas.catalog import Catalog
from auditlog_schemas.errors import ConfigError
from auditlog_storage.connection import Connection
from auditlog_storage.keys import KeyName, Keys
from auditlog_storage.migrations import migrate
from auditlog_storage.tables import AUDIT_KEYS
from storage.event_log import Log

pytestmark = pytest.mark.integration

NAMES: tuple[KeyName, ...] = get_args(KeyName)


def _read(connection: Connection) -> dict[str, bytes]:
    return {name: Keys(connection).read(name) for name in NAMES}


def _add(connection: Connection, keys: Mapping[str, bytes]) -> None:
    rows = [{"name": name, "key": key} for name, key in keys.items()]
    batch = pa.RecordBatch.from_pylist(rows, schema=AUDIT_KEYS.rows)
    connection.insert_batch(AUDIT_KEYS.name, batch, token=None)


def test_migrating_makes_each_key_once(unmade: Connection, catalog: Catalog) -> None:
    assert migrate(unmade, catalog).keys_made == NAMES
    keys = _read(unmade)
    assert len(set(keys.values())) == len(NAMES)
    assert {len(key) for key in keys.values()} == {32}
    assert migrate(unmade, catalog).keys_made == ()
    assert _read(unmade) == keys


def test_two_installations_have_different_keys(log: Log, unmade: Connection, catalog: Catalog) -> None:
    migrate(unmade, catalog)
    assert not set(_read(unmade).values()) & set(_read(log.connection).values())


def test_the_older_of_two_rows_holds_also_after_a_merge(log: Log) -> None:
    keys = _read(log.connection)
    for byte in (b"\0", b"\xff"):
        _add(log.connection, dict.fromkeys(NAMES, byte * 32))
    assert _read(log.connection) == keys
    log.connection.command("OPTIMIZE TABLE audit_keys FINAL")
    assert _read(log.connection) == keys


def test_of_two_rows_of_one_moment_every_process_takes_the_same(log: Log) -> None:
    log.connection.command("TRUNCATE TABLE audit_keys")
    _add(log.connection, {"cursor": b"\xff" * 32})
    _add(log.connection, {"cursor": b"\1" * 32})
    # A materialized column cannot be inserted, so it is made equal afterwards.
    equal = (
        "ALTER TABLE audit_keys MODIFY COLUMN created_at DateTime64(6, 'UTC') MATERIALIZED toDateTime64(0, 6)"
    )
    log.connection.command(equal)
    log.connection.command(
        "ALTER TABLE audit_keys MATERIALIZE COLUMN created_at", settings={"mutations_sync": 2}
    )
    assert Keys(log.connection).read("cursor") == b"\1" * 32


def test_migrations_at_once_agree_on_the_keys(unmade: Connection, catalog: Catalog) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: migrate(unmade, catalog), range(4)))
        assert len({tuple(keys.items()) for keys in threads.map(lambda _: _read(unmade), range(4))}) == 1


def test_a_database_without_the_table_or_without_the_key_says_what_to_do(
    log: Log, unmade: Connection
) -> None:
    log.connection.command("TRUNCATE TABLE audit_keys")
    with pytest.raises(ConfigError, match="has no key 'cursor' in audit_keys: run `auditlog migrate`"):
        Keys(log.connection).read("cursor")
    unmade.command(f"CREATE DATABASE {unmade.database}", in_database=False)
    with pytest.raises(ConfigError, match="has no key 'own_events' in audit_keys: run `auditlog migrate`"):
        Keys(unmade).read("own_events")


def test_deleted_keys_are_made_anew_by_the_next_migration(log: Log, catalog: Catalog) -> None:
    before = _read(log.connection)
    log.connection.command(
        "ALTER TABLE audit_keys DELETE WHERE name = 'cursor'", settings={"mutations_sync": 2}
    )
    assert migrate(log.connection, catalog).keys_made == ("cursor",)
    after = _read(log.connection)
    assert after["cursor"] != before["cursor"]
    assert after["own_events"] == before["own_events"]


def test_a_key_is_in_the_body_of_a_request_and_never_in_the_text_of_a_statement(
    unmade: Connection, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []
    send = PoolManager.request

    def spy(self: PoolManager, method: str, url: str, **more: Any) -> Any:
        body = more.get("body") or b""
        # An insert's statement is in the address, and its rows are the body; any other one is the body.
        is_insert = "INSERT" in url
        texts.append(unquote_plus(url) + ("" if is_insert else bytes(body).decode("latin-1")))
        return send(self, method, url, **more)

    monkeypatch.setattr(PoolManager, "request", spy)
    migrate(unmade, catalog)
    keys = _read(unmade)
    assert any("INSERT INTO `audit_keys`" in text for text in texts)
    for text in texts:
        for key in keys.values():
            assert key.hex() not in text.lower()
            assert key.decode("latin-1") not in text

"""What one query of a reader may take, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from auditlog_cli.commands.events import _pages
from auditlog_schemas.errors import ConfigError, QueryLimitReached, StorageUnavailable
from auditlog_storage.account_query import AccountQuery
from auditlog_storage.connection import Connection
from auditlog_storage.filters import EventFilter
from auditlog_storage.reader import LogReader
from auditlog_storage.settings import StorageSettings
from storage.event_log import Log

pytestmark = pytest.mark.integration


def _limited(log: Log, **limits: int) -> Connection:
    return Connection(StorageSettings.load(url=log.connection.settings.url.get_secret_value(), **limits))


@pytest.fixture(scope="module")
def account(shared_log: Log) -> str:
    account = f"acc_{uuid4().hex}"
    shared_log.store(*(shared_log.event(account_id=account) for _ in range(3_000)))
    return account


Read = Callable[[LogReader, str], Any]
READS: tuple[Read, ...] = (
    lambda reader, account: reader.facet(account, EventFilter(), "entity"),
    lambda reader, account: reader.histogram(account, EventFilter(request_id="none")),
)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("setting", "allowed", "words"),
    [("read_rows_max", 1_000, "1,000 rows"), ("read_bytes_max", 5_000, "5,000 bytes")],
)
def test_a_limit_is_named_with_what_to_do(
    shared_log: Log,
    account: str,
    read: Read,
    setting: str,
    allowed: int,
    words: str,
) -> None:
    named = pytest.raises(QueryLimitReached, match=rf"{words}.*\({setting}\).*shorter time")
    with _limited(shared_log, **{setting: allowed}) as connection, named:
        read(LogReader(connection), account)


def test_the_limits_of_memory_and_time(shared_log: Log, account: str) -> None:
    named = pytest.raises(QueryLimitReached, match="read_memory_bytes_max")
    with _limited(shared_log, read_memory_bytes_max=100_000) as connection, named:
        LogReader(connection).facet(account, EventFilter(), "entity")
    with _limited(shared_log, read_seconds_max=1) as connection:
        query = AccountQuery(connection)
        slow = "count(), sum(sleepEachRow(0.002))"
        with pytest.raises(QueryLimitReached, match="read_seconds_max"):
            query.rows(account, EventFilter(), slow, settings={"max_block_size": 100})


def test_a_page_of_large_events_is_refused_and_a_shorter_one_is_not(shared_log: Log) -> None:
    account = f"acc_{uuid4().hex}"
    metadata = {f"field_{number}": "x" * 1_000 for number in range(40)}
    shared_log.store(*(shared_log.event(account_id=account, metadata=metadata) for _ in range(500)))
    reader = LogReader(shared_log.connection)
    with pytest.raises(QueryLimitReached, match=r"read_result_bytes_max.*fewer events at a time \(limit\)"):
        reader.timeline(account, limit=500)
    page, seen = reader.timeline(account, limit=200), 200
    while page.next_cursor is not None:
        page = reader.timeline(account, limit=200, cursor=page.next_cursor)
        seen += len(page.events)
    assert seen == 500
    # The command makes its pages shorter by itself.
    assert sum(len(page.events) for page in _pages(reader, account, EventFilter(), None)) == 500


def test_a_reader_can_only_read(shared_log: Log, account: str) -> None:
    query = AccountQuery(shared_log.connection)
    [(read_only,)] = query.rows(account, EventFilter(), "getSetting('readonly')", "LIMIT 1")
    assert read_only == 1
    with pytest.raises(ConfigError, match="readonly"):
        query.read("CREATE TABLE made_by_a_reader (x UInt8) ENGINE = Memory", {})
    with pytest.raises(ConfigError, match="readonly"):
        query.read("SELECT 1 SETTINGS max_execution_time = 1000", {})


def test_a_server_that_is_away_is_no_limit() -> None:
    with (
        Connection(StorageSettings.load(url="http://127.0.0.1:1/x", connect_timeout_seconds=1)) as connection,
        pytest.raises(StorageUnavailable),
    ):
        LogReader(connection).timeline("acc_1")

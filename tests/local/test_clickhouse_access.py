"""Sessions, users and grants."""

from __future__ import annotations

import threading
import time
import uuid
from urllib.parse import quote

import pytest

from local.http_call import (
    call,
    quoted,
    value,
)

pytestmark = pytest.mark.integration


def test_a_session_keeps_what_a_single_request_does_not(table: str) -> None:
    session = {"session_id": uuid.uuid4().hex}
    value(table, "CREATE TEMPORARY TABLE mine (x UInt8)", **session)
    value(table, "INSERT INTO mine VALUES (1), (2)", **session)
    value(table, "SET max_block_size = 777", **session)
    sql = "SELECT count(), any(getSetting('max_block_size')), any(getSetting('max_threads')) FROM mine"
    assert value(table, sql, **session, max_threads="3") == "2\t777\t3"
    assert value(table, sql, **session, max_block_size="5").split("\t")[:2] == ["2", "5"]
    assert value(table, sql, **session).split("\t")[:2] == ["2", "777"]
    assert call(table, "SELECT count() FROM mine").code == 60
    assert call(table, "SELECT 1", session_id=uuid.uuid4().hex, session_check="1").code == 372


def test_a_session_runs_one_statement_at_a_time(clickhouse_url: str) -> None:
    session = uuid.uuid4().hex
    thread = threading.Thread(
        target=call, args=(clickhouse_url, "SELECT sleep(1)"), kwargs={"session_id": session}
    )
    thread.start()
    time.sleep(0.4)
    assert call(clickhouse_url, "SELECT 1", session_id=session).code == 373
    thread.join()


def test_wrong_credentials_are_refused(clickhouse_url: str) -> None:
    bare = "http://" + clickhouse_url.rpartition("@")[2]
    for params in ({"user": "default", "password": "wrong"}, {"user": "nobody"}):
        answer = call(bare, "SELECT 1", **params)
        assert (answer.code, answer.status) == (516, 403)
        assert "wrong" not in answer.text
    assert call(bare, "SELECT 1", {"Authorization": "Basic !!!"}).code == 516
    assert call(bare, "SELECT 1", {"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": "x"}).code == 516


@pytest.fixture
def analyst(table: str) -> str:
    """The URL of a read-only user of the table's database."""
    database = table.rpartition("/")[2]
    name, password = f"analyst_{database}", "p'a\"s\\s:@/word"
    value(table, "INSERT INTO t VALUES (1, 1, 'a')")
    identified = f"IDENTIFIED WITH sha256_password BY {quoted(password)} SETTINGS readonly = 1"
    for _ in range(2):
        value(table, f"CREATE USER IF NOT EXISTS {name} {identified}")
        value(table, f"GRANT SELECT ON {database}.* TO {name}")
    assert call(table, f"CREATE USER {name} {identified}").code == 493
    origin = table.rpartition("@")[2]
    return f"http://{name}:{quote(password, safe='')}@{origin}"


def test_an_analyst_reads_and_does_nothing_else(analyst: str) -> None:
    assert value(analyst, "SELECT * FROM t") == "1\t1\ta"
    assert value(analyst, "SELECT count() FROM t WHERE v = {v:String}", param_v="a") == "1"
    for sql in (
        "INSERT INTO t VALUES (1, 2, 'b')",
        "DROP TABLE t",
        "TRUNCATE TABLE t",
        "CREATE TABLE u (a UInt8) ENGINE = Memory",
        "ALTER TABLE t DELETE WHERE 1",
        "SET max_threads = 1",
        "SET ROLE ALL",
        "SET ROLE everything",
        "CREATE USER other",
        "GRANT ALL ON *.* TO other",
        "SYSTEM STOP MERGES",
        "SELECT * FROM t SETTINGS readonly = 0",
        "SELECT * FROM t SETTINGS max_threads = 1",
        "SELECT * FROM file('/etc/hostname', 'TSV', 'a String')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'a String')",
        "SELECT file('/etc/hostname')",
        "SELECT * FROM t WHERE v = `file`/**/('/etc/hostname')",
        "SELECT 1; SET ROLE everything",
    ):
        assert call(analyst, sql).status >= 400, sql
    assert call(analyst, "INSERT INTO t VALUES (1, 2, 'b')").code in (164, 497)
    assert call(analyst, "SELECT 1", readonly="0").code == 164
    assert call(analyst, "SELECT 1", max_threads="1").code == 164
    assert value(analyst, "SELECT count() FROM t") == "1"


def test_an_analyst_sees_its_database_only(analyst: str, clickhouse_url: str) -> None:
    other = f"other_{uuid.uuid4().hex[:8]}"
    value(clickhouse_url, f"CREATE DATABASE {other}")
    value(clickhouse_url, f"CREATE TABLE {other}.secret ENGINE = MergeTree ORDER BY x AS SELECT 1 AS x")
    try:
        assert call(analyst, f"SELECT * FROM {other}.secret").code == 497
        assert call(analyst, f"SELECT * FROM merge('{other}', 'secret')").status >= 400
        assert value(analyst, f"SELECT count() FROM system.tables WHERE database = '{other}'") == "0"
        assert call(analyst, "SELECT 1", database=other).status in (200, 403)
    finally:
        value(clickhouse_url, f"DROP DATABASE {other} SYNC")


def test_a_grant_can_be_taken_back_and_a_user_dropped(analyst: str, table: str) -> None:
    database = table.rpartition("/")[2]
    value(table, f"REVOKE SELECT ON {database}.* FROM analyst_{database}")
    assert call(analyst, "SELECT * FROM t").code == 497
    value(table, f"GRANT SELECT ON {database}.t TO analyst_{database}")
    assert call(analyst, "SELECT count() FROM t").status == 200
    value(table, f"ALTER USER analyst_{database} IDENTIFIED WITH sha256_password BY 'new'")
    assert call(analyst, "SELECT 1").code == 516
    value(table, f"DROP USER analyst_{database}")
    assert call(table, f"DROP USER analyst_{database}").code == 192
    assert call(table, f"GRANT SELECT ON *.* TO analyst_{database}").code == 192

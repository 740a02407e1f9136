"""What any ClickHouse server does over HTTP; run here on the local one, to be run on a real one just so."""

from __future__ import annotations

import http.client
import threading
import time
import uuid

import pytest

from local.http_call import (
    authorization,
    call,
    connection,
    target,
    value,
)

pytestmark = pytest.mark.integration


def test_it_says_that_it_lives(clickhouse_url: str) -> None:
    link = connection(clickhouse_url)
    for path in ("/ping", "/replicas_status", "/"):
        link.request("GET", path)
        answer = link.getresponse()
        assert (answer.status, answer.read()) == (200, b"Ok.\n")
    link.close()


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELECT * FROM nothing_here", 60, 404),
        ("SELECT * FROM nowhere.t", 81, 404),
        ("SELEC 1", 62, 400),
        ("SELECT", 62, 400),
        ("SELECT (1", 62, 400),
        ("SELECT no_such_function(1)", 46, 404),
        ("SELECT no_such_column FROM system.one", 47, 404),
        ("SELECT toUInt8('x')", 6, 400),
        ("SELECT throwIf(1, 'boo: Code: 60.')", 395, 500),
        ("SELECT 1 FORMAT NoSuchFormat", 73, 404),
        ("SELECT sleepEachRow(0.2) FROM numbers(9) SETTINGS max_execution_time=1,max_block_size=1", 159, 408),
        ("SELECT number FROM numbers(100) SETTINGS max_result_rows = 10", 396, 500),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT {missing:String}", 456, 500),
        ("INSERT INTO nothing_here FORMAT CSV\n1,2\n", 60, 404),
        ("CREATE TABLE nowhere.t (a UInt8) ENGINE = Memory", 81, 404),
        ("ALTER TABLE nothing_here DROP COLUMN a", 60, 404),
    ],
)  # fmt: skip
def test_errors_have_clickhouses_codes(clickhouse_url: str, sql: str, code: int, status: int) -> None:
    answer = call(clickhouse_url, sql)
    assert (answer.code, answer.status) == (code, status), answer.text
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert "(version " in answer.text


def test_an_unknown_database_in_the_url_is_an_error(clickhouse_url: str) -> None:
    assert call(clickhouse_url, "SELECT 1", database="no_such_database").code == 81


def test_an_unknown_setting_in_the_url_is_an_error(clickhouse_url: str) -> None:
    answer = call(clickhouse_url, "SELECT 1", no_such_setting="1")
    assert (answer.code, answer.status) == (115, 404)


def test_settings_of_the_url_hold_for_one_statement(clickhouse_url: str) -> None:
    sql = "SELECT getSetting('max_block_size')"
    usual = value(clickhouse_url, sql)
    assert value(clickhouse_url, sql, max_block_size="1234") == "1234"
    assert value(clickhouse_url, sql + " SETTINGS max_block_size = 99", max_block_size="1234") == "99"
    assert value(clickhouse_url, sql) == usual


def test_a_setting_is_a_value_and_never_sql(clickhouse_url: str) -> None:
    answer = call(clickhouse_url, "SELECT 1", max_block_size="1', readonly = '0")
    assert answer.status >= 400
    assert call(clickhouse_url, "SELECT 1", **{"max_block_size = 1, readonly": "0"}).code == 115


def test_settings_of_the_url_reach_an_insert(table: str) -> None:
    parts = b"".join(b"%d,%d,x\n" % (p, p) for p in range(5))
    insert = b"INSERT INTO t FORMAT CSV\n"
    assert call(table, insert + parts, max_partitions_per_insert_block="4").code == 252
    token = {"insert_deduplication_token": "T", "deduplicate_insert": "enable", "async_insert": "0"}
    for _ in range(3):
        assert call(table, insert + b"1,1,x\n", **token, fsync_after_insert="1").status in (200, 404)
        assert call(table, insert + b"1,1,x\n", **token).status == 200
    assert value(table, "SELECT count() FROM t") == "1"


def test_readonly_and_get_only_read(table: str) -> None:
    insert = "INSERT INTO t (o) VALUES (1)"
    assert call(table, insert, readonly="1").code == 164
    assert call(table, insert, readonly="2").code == 164
    assert call(table, method="GET", query=insert).code == 164
    assert call(table, method="GET", query="DROP TABLE t").code == 164
    assert call(table, "SELECT 1 SETTINGS readonly = 0", readonly="1").code == 164
    assert call(table, "SELECT 1", readonly="1", max_block_size="1").status == 200
    assert call(table, method="GET", query="SELECT count() FROM t").body == b"0\n"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS x FORMAT JSONEachRow",
        "SELECT 1 AS x FORMAT JSONEachRow;",
        "SELECT 1 AS x FORMAT JSONEachRow SETTINGS max_threads = 1",
        "SELECT 1 AS x SETTINGS max_threads = 1 FORMAT JSONEachRow",
        "SELECT 1 AS x FORMAT JSONEachRow -- FORMAT CSV",
        "/* FORMAT CSV */ SELECT 1 AS x\nFORMAT\tJSONEachRow\n;;  ",
        "(SELECT 1 AS x) FORMAT JSONEachRow",
        "WITH 1 AS x SELECT x FORMAT JSONEachRow",
    ],
)
def test_the_statements_own_format_is_found(clickhouse_url: str, sql: str) -> None:
    answer = call(clickhouse_url, sql, default_format="CSV")
    assert answer.body == b'{"x":1}\n'
    assert answer.headers["x-clickhouse-format"] == "JSONEachRow"


@pytest.mark.parametrize(
    ("sql", "result"),
    [
        ("SELECT ' FORMAT JSON'", '" FORMAT JSON"'),
        ("SELECT 1 AS format", "1"),
        ("SELECT 'it''s; -- no comment' -- a comment; FORMAT JSON", '"it\'s; -- no comment"'),
        ("SELECT $$a 'b' FORMAT JSON$$", "\"a 'b' FORMAT JSON\""),
        ("SELECT 1 # FORMAT JSON", "1"),
        ("SELECT format('{}-{}', 'a', 'b')", '"a-b"'),
        ("SELECT x FROM (SELECT 1 AS x ORDER BY x) AS `FORMAT JSON`", "1"),
    ],
)
def test_what_only_looks_like_a_format_is_left_alone(clickhouse_url: str, sql: str, result: str) -> None:
    assert value(clickhouse_url, sql, default_format="CSV") == result


def test_formats_may_be_chosen_outside_the_statement(clickhouse_url: str) -> None:
    assert call(clickhouse_url, "SELECT 1", {"X-ClickHouse-Format": "JSONCompactEachRow"}).body == b"[1]\n"
    assert call(clickhouse_url, "SELECT 'a\tb'").body == b"a\\tb\n"
    assert call(clickhouse_url, "SHOW DATABASES LIKE 'system'", default_format="CSV").body == b'"system"\n'
    assert b"ReadFromSystemOne" in call(clickhouse_url, "EXPLAIN SELECT 1").body
    assert call(clickhouse_url, "SELECT 1 FORMAT Null").body == b""


def test_a_statement_may_be_in_the_url_the_body_or_both(clickhouse_url: str) -> None:
    assert call(clickhouse_url, query="SELECT 1").body == b"1\n"
    assert call(clickhouse_url, "+ 2", query="SELECT 1").body == b"3\n"
    assert call(clickhouse_url, "SELECT 4").body == b"4\n"


def test_a_query_id_is_echoed_and_runs_once(clickhouse_url: str) -> None:
    identity = uuid.uuid4().hex
    assert call(clickhouse_url, "SELECT 1", query_id=identity).headers["x-clickhouse-query-id"] == identity
    thread = threading.Thread(
        target=call, args=(clickhouse_url, "SELECT sleep(1)"), kwargs={"query_id": identity}
    )
    thread.start()
    time.sleep(0.4)
    assert call(clickhouse_url, "SELECT 1", query_id=identity).code == 216
    thread.join()
    assert call(clickhouse_url, "SELECT 1", query_id=identity).status == 200


def test_a_keep_alive_connection_serves_many_requests(clickhouse_url: str) -> None:
    link = connection(clickhouse_url)
    for sql, status in (("SELECT 1", 200), ("SELEC", 400), ("SELECT 2", 200)):
        link.request("POST", "/", sql, authorization(clickhouse_url))
        answer = link.getresponse()
        answer.read()
        assert answer.status == status
    link.close()


def test_a_chunked_request_is_read_whole(table: str) -> None:
    link: http.client.HTTPConnection = connection(table)
    pieces = (b"0,%d,x\n" % n for n in range(1000))
    path = target(table, {"query": "INSERT INTO t FORMAT CSV"})
    link.request("POST", path, pieces, authorization(table), encode_chunked=True)
    assert link.getresponse().status == 200
    link.close()
    assert value(table, "SELECT count() FROM t") == "1000"

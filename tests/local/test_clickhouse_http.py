"""What any ClickHouse server does over HTTP; run here on the local one, to be run on a real one just so."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import threading
import time
import uuid
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet
import pytest
from backports import zstd
from local.http_call import Answer, authorization, call, connection, target, value

pytestmark = pytest.mark.integration

HOSTILE = [
    "",
    "it's",
    'say "hi"',
    "back\\slash",
    "tab\tnew\nline\rreturn",
    "nul\0byte",
    "\\N",
    "\\n",
    "NULL",
    "'); DROP TABLE t; --",
    "{x:String}",
    "ünïcödé 😀",
    "%27 + & = ?",
    "$$ $tag$",
]


def escaped(text: str) -> str:
    """A string as ClickHouse reads a URL parameter: escaped as in TabSeparated."""
    for raw, written in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0")):
        text = text.replace(raw, written)
    return text


def quoted(text: str) -> str:
    return "'" + escaped(text).replace("'", "\\'") + "'"


def rows(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.text
    return [json.loads(line) for line in answer.body.splitlines()]


@pytest.fixture
def table(fresh_database: str) -> str:
    value(
        fresh_database,
        "CREATE TABLE t (p UInt8, o UInt64, v String) ENGINE = MergeTree PARTITION BY p ORDER BY o "
        "SETTINGS non_replicated_deduplication_window = 100",
    )
    return fresh_database


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
        ("SELECT sleepEachRow(0.2) FROM numbers(20) SETTINGS max_execution_time = 1, max_block_size = 1", 159, 408),
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


@pytest.mark.parametrize("text", HOSTILE)
def test_string_parameters_arrive_unchanged(clickhouse_url: str, text: str) -> None:
    answer = call(
        clickhouse_url,
        "SELECT {s:String} AS s, {a:Array(String)} AS a, {t:Array(Tuple(String, Nullable(String)))} AS t, "
        "length({s:String}) AS n FORMAT JSONEachRow",
        param_s=escaped(text),
        param_a=f"[{quoted(text)},'b']",
        param_t=f"[({quoted(text)},NULL),('x',{quoted(text)})]",
        output_format_json_named_tuples_as_objects="0",
        output_format_json_quote_64bit_integers="0",
    )
    assert rows(answer) == [
        {"s": text, "a": [text, "b"], "t": [[text, None], ["x", text]], "n": len(text.encode())}
    ]


def test_parameters_are_typed(clickhouse_url: str) -> None:
    sql = "SELECT {n:Int64} + 1, {d:DateTime64(6, 'UTC')}, {x:Nullable(String)} IS NULL, {u:UUID}, {b:Bool}"
    identity = str(uuid.uuid4())
    given = {"param_n": "41", "param_d": "2024-01-02 03:04:05.678901", "param_x": "\\N", "param_b": "true"}
    line = value(clickhouse_url, sql, param_u=identity, **given)
    assert line == f"42\t2024-01-02 03:04:05.678901\t1\t{identity}\ttrue"
    assert call(clickhouse_url, "SELECT {n:Int64}", param_n="1; DROP TABLE t").code == 457
    assert call(clickhouse_url, "SELECT {n:Array(Int64)}", param_n="[1,'x']").status >= 400


def test_identifier_parameters_cannot_break_out(table: str) -> None:
    value(table, "INSERT INTO {name:Identifier} (o, v) VALUES (1, 'a')", param_name="t")
    assert value(table, "SELECT v FROM {name:Identifier}", param_name="t") == "a"
    assert (
        call(table, "SELECT * FROM {name:Identifier}", param_name="t WHERE 1 UNION ALL SELECT 1").code == 60
    )


def test_parameters_work_in_inserts(table: str) -> None:
    text = HOSTILE[4] + HOSTILE[1]
    value(table, "INSERT INTO t (o, v) SELECT 1, {v:String}", param_v=escaped(text))
    assert rows(call(table, "SELECT v FROM t FORMAT JSONEachRow")) == [{"v": text}]


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
    assert (
        call(clickhouse_url, "SELECT 1", headers={"X-ClickHouse-Format": "JSONCompactEachRow"}).body
        == b"[1]\n"
    )
    assert call(clickhouse_url, "SELECT 'a\tb'").body == b"a\\tb\n"
    assert call(clickhouse_url, "SHOW DATABASES LIKE 'system'", default_format="CSV").body == b'"system"\n'
    assert b"ReadFromSystemOne" in call(clickhouse_url, "EXPLAIN SELECT 1").body
    assert call(clickhouse_url, "SELECT 1 FORMAT Null").body == b""


def test_a_statement_may_be_in_the_url_the_body_or_both(clickhouse_url: str) -> None:
    assert call(clickhouse_url, query="SELECT 1").body == b"1\n"
    assert call(clickhouse_url, "+ 2", query="SELECT 1").body == b"3\n"
    assert call(clickhouse_url, "SELECT 4").body == b"4\n"


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
}
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": zstd.decompress,
}


@pytest.mark.parametrize("coding", sorted(ENCODERS))
def test_requests_may_be_compressed(table: str, coding: str) -> None:
    body = b"INSERT INTO t FORMAT CSV\n" + b"".join(b"0,%d,row\n" % n for n in range(50_000))
    packed = ENCODERS[coding](body)
    assert call(table, packed, headers={"Content-Encoding": coding}).status == 200
    assert value(table, "SELECT count(), max(o) FROM t") == "50000\t49999"
    assert call(table, packed[:-20], headers={"Content-Encoding": coding}).status >= 400
    assert call(table, b"no such bytes", headers={"Content-Encoding": coding}).status >= 400
    assert value(table, "SELECT count() FROM t") == "50000"


@pytest.mark.parametrize("coding", sorted(DECODERS))
def test_responses_are_compressed_when_wanted(clickhouse_url: str, coding: str) -> None:
    sql = "SELECT number, repeat('x', 100) FROM numbers(50000)"
    wanted = call(clickhouse_url, sql).body
    packed = call(clickhouse_url, sql, headers={"Accept-Encoding": coding}, enable_http_compression="1")
    assert packed.headers["content-encoding"] == coding
    assert len(packed.body) < len(wanted) / 5
    assert DECODERS[coding](packed.body) == wanted
    plain = call(clickhouse_url, sql, headers={"Accept-Encoding": coding})
    assert "content-encoding" not in plain.headers
    assert plain.body == wanted


def test_a_result_is_streamed_and_dies_with_its_client(clickhouse_url: str) -> None:
    mark = f"streamed_{uuid.uuid4().hex}"
    sql = f"SELECT number, repeat('x', 100) AS {mark} FROM numbers(100000000000)"
    link = connection(clickhouse_url)
    link.request("POST", "/", sql, authorization(clickhouse_url))
    response = link.getresponse()
    assert len(response.read(4 << 20)) == 4 << 20
    response.close()
    link.close()
    assert_gone(clickhouse_url, mark)


def test_a_statement_that_computes_dies_with_its_client(clickhouse_url: str) -> None:
    mark = f"computing_{uuid.uuid4().hex}"
    sql = f"SELECT count() AS {mark} FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))"
    link = connection(clickhouse_url)
    link.request("POST", target(clickhouse_url, CANCELLING), sql, authorization(clickhouse_url))
    running = f"SELECT count() FROM system.processes WHERE position(query, '{mark}') > 0 AND query LIKE 'SELECT count() AS%'"
    deadline = time.monotonic() + 10
    while value(clickhouse_url, running) != "1":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    link.close()
    assert_gone(clickhouse_url, mark)


# A ClickHouse server only looks for the client's end when it is asked to.
CANCELLING = {"cancel_http_readonly_queries_on_client_close": "1"}


def assert_gone(url: str, mark: str) -> None:
    running = f"SELECT count() FROM system.processes WHERE position(query, '{mark}') > 0 AND query NOT LIKE '%processes%'"
    deadline = time.monotonic() + 10
    while value(url, running) != "0":
        assert time.monotonic() < deadline, "the statement still runs"
        time.sleep(0.05)


@pytest.mark.parametrize("coding", ["", "lz4", "zstd", "gzip"])
def test_an_error_in_mid_stream_cannot_be_missed(clickhouse_url: str, coding: str) -> None:
    sql = "SELECT number, throwIf(number = 3000000, 'in the middle') FROM numbers(5000000)"
    answer = call(
        clickhouse_url, sql, headers={"Accept-Encoding": coding}, enable_http_compression="1", max_threads="1"
    )
    assert answer.status == 200
    assert not answer.whole
    if not coding:
        tag = answer.headers["x-clickhouse-exception-tag"]
        assert f"__exception__\r\n{tag}\r\n".encode() in answer.body
        assert b"Code: 395. DB::Exception: in the middle" in answer.body[-2000:]


def test_waiting_for_the_end_turns_it_into_an_honest_status(clickhouse_url: str) -> None:
    sql = "SELECT number, throwIf(number = 3000000, 'in the middle') FROM numbers(5000000)"
    answer = call(clickhouse_url, sql, wait_end_of_query="1")
    assert (answer.status, answer.code, answer.whole) == (500, 395, True)


def test_statements_run_at_the_same_time(clickhouse_url: str) -> None:
    started = time.monotonic()
    threads = [threading.Thread(target=call, args=(clickhouse_url, "SELECT sleep(1)")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 4


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


def arrow_stream(size: int, first: int = 0, batches: int = 1) -> bytes:
    whole = pa.table(
        {
            "p": pa.array([0] * size, pa.uint8()),
            "o": pa.array(range(first, first + size), pa.uint64()),
            "v": pa.array(["row"] * size),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole, max_chunksize=-(-size // batches))
    return sink.getvalue().to_pybytes()


def test_an_insert_may_bring_its_data_in_many_ways(table: str) -> None:
    awkward = "a;b\nFORMAT CSV 'x'"
    value(table, "ALTER TABLE t MODIFY SETTING non_replicated_deduplication_window = 0")
    line = json.dumps({"o": 1, "v": awkward})
    call(table, f"INSERT INTO t (o, v) FORMAT JSONEachRow\n{line}\n")
    call(table, line, query="INSERT INTO t (o, v) FORMAT JSONEachRow")
    call(table, f"INSERT INTO t (o, v) VALUES (1, {quoted(awkward)}), (1, {quoted(awkward)})")
    call(table, f"(1, {quoted(awkward)})", query="INSERT INTO t (o, v) VALUES")
    call(table, query=f"INSERT INTO t (o, v) VALUES (1, {quoted(awkward)})")
    call(table, f"INSERT INTO t (o, v) SELECT 1, {quoted(awkward)}")
    call(table, f"INSERT INTO TABLE t(o,v) SETTINGS async_insert = 0 FORMAT JSONEachRow {line}")
    assert rows(call(table, "SELECT o, v, count() AS n FROM t GROUP BY o, v FORMAT JSONEachRow")) == [
        {"o": 1, "v": awkward, "n": 8}
    ]


@pytest.mark.parametrize(
    "form", ["Native", "ArrowStream", "Arrow", "Parquet", "CSV", "RowBinary", "JSONEachRow"]
)
def test_what_one_query_gives_another_insert_takes(table: str, form: str) -> None:
    source = "SELECT toUInt8(0) AS p, number AS o, toString(number) AS v FROM numbers(3000)"
    data = call(table, f"{source} FORMAT {form}").body
    answer = call(table, data, query=f"INSERT INTO t (p, o, v) FORMAT {form}")
    assert answer.status == 200, answer.text
    assert json.loads(answer.headers["x-clickhouse-summary"])["written_rows"] == "3000"
    assert value(table, "SELECT count(), sum(o), max(toUInt64(v)) FROM t") == "3000\t4498500\t2999"


def test_a_bad_insert_stores_nothing(table: str) -> None:
    assert call(table, b"1,1,x\nnonsense\n", query="INSERT INTO t FORMAT CSV").status >= 400
    assert call(table, arrow_stream(100)[:-300], query="INSERT INTO t FORMAT ArrowStream").status >= 400
    assert call(table, b"garbage" * 100, query="INSERT INTO t FORMAT ArrowStream").status >= 400
    assert call(table, b"garbage" * 100, query="INSERT INTO t FORMAT Parquet").status >= 400
    assert value(table, "SELECT count() FROM t") == "0"
    assert call(table, b"", query="INSERT INTO t FORMAT CSV").status in (200, 500)
    assert value(table, "SELECT count() FROM t") == "0"


def test_a_client_that_dies_while_sending_stores_nothing(table: str) -> None:
    link = connection(table)
    link.putrequest("POST", target(table, {"query": "INSERT INTO t FORMAT CSV"}))
    for name, content in authorization(table).items():
        link.putheader(name, content)
    link.putheader("Content-Length", "1000000")
    link.endheaders(b"1,1,x\n1,2,x\n")
    time.sleep(0.3)
    link.close()
    time.sleep(0.5)
    assert value(table, "SELECT count() FROM t") == "0"


def test_one_record_batch_is_one_block(table: str) -> None:
    value(table, "SYSTEM STOP MERGES t")
    for first in (0, 100_000):
        data = arrow_stream(100_000, first)
        assert call(table, data, query="INSERT INTO t FORMAT ArrowStream", async_insert="0").status == 200
    parts = "SELECT rows FROM system.parts WHERE database = currentDatabase() AND table = 't' AND active"
    assert value(table, parts) == "100000\n100000"


def test_an_insert_may_carry_a_deadline(table: str) -> None:
    sql = (
        "INSERT INTO t SELECT p, o, v FROM input('p UInt8, o UInt64, v String') "
        "WHERE throwIf(now64(3) > fromUnixTimestamp64Milli({deadline:Int64}), 'too late') = 0 FORMAT ArrowStream"
    )
    token = {"insert_deduplication_token": "D", "deduplicate_insert": "enable", "async_insert": "0"}
    data = arrow_stream(10_000)
    now = int(time.time() * 1000)
    late = call(table, data, query=sql, param_deadline=str(now - 1000), **token)
    assert (late.code, value(table, "SELECT count() FROM t")) == (395, "0")
    for _ in range(2):
        stored = call(table, data, query=sql, param_deadline=str(now + 60_000), **token)
        assert stored.status == 200, stored.text
    assert value(table, "SELECT count(), uniqExact(o) FROM t") == "10000\t10000"
    in_body = call(table, f"{sql}\n".encode() + arrow_stream(10, 10_000), param_deadline=str(now + 60_000))
    assert in_body.status == 200, in_body.text
    assert value(table, "SELECT count() FROM t") == "10010"


def test_parquet_written_elsewhere_is_taken(table: str) -> None:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"o": pa.array([7], pa.uint64()), "v": ["x"]}), sink)
    assert call(table, sink.getvalue(), query="INSERT INTO t (o, v) FORMAT Parquet").status == 200
    assert value(table, "SELECT o, v FROM t") == "7\tx"


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
    assert call(bare, "SELECT 1", headers={"Authorization": "Basic !!!"}).code == 516
    assert (
        call(bare, "SELECT 1", headers={"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": "x"}).code == 516
    )


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
    from urllib.parse import quote

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

"""Inserts: every way data comes in, and nothing stored unless all of it is."""

from __future__ import annotations

import io
import json
import time

import pyarrow as pa
import pyarrow.parquet
import pytest

from local.http_call import (
    authorization,
    call,
    connection,
    quoted,
    rows,
    target,
    value,
)

pytestmark = pytest.mark.integration


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
        "WHERE throwIf(now64(3)>fromUnixTimestamp64Milli({deadline:Int64}), 'too late')=0 FORMAT ArrowStream"
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

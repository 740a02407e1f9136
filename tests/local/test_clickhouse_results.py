"""Results: compressed, streamed, cancelled with their client, broken off so that nobody misses it."""

from __future__ import annotations

import gzip
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Callable

import lz4.frame  # type: ignore[import-untyped]
import pytest

from kit.stopwatch import Stopwatch
from local.http_call import (
    assert_gone,
    authorization,
    call,
    connection,
    target,
    value,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.integration

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
    assert call(table, packed, {"Content-Encoding": coding}).status == 200
    assert value(table, "SELECT count(), max(o) FROM t") == "50000\t49999"
    assert call(table, packed[:-20], {"Content-Encoding": coding}).status >= 400
    assert call(table, b"no such bytes", {"Content-Encoding": coding}).status >= 400
    assert value(table, "SELECT count() FROM t") == "50000"


@pytest.mark.parametrize("coding", sorted(DECODERS))
def test_responses_are_compressed_when_wanted(clickhouse_url: str, coding: str) -> None:
    sql = "SELECT number, repeat('x', 100) FROM numbers(50000)"
    wanted = call(clickhouse_url, sql).body
    packed = call(clickhouse_url, sql, {"Accept-Encoding": coding}, enable_http_compression="1")
    assert packed.headers["content-encoding"] == coding
    assert len(packed.body) < len(wanted) / 5
    assert DECODERS[coding](packed.body) == wanted
    plain = call(clickhouse_url, sql, {"Accept-Encoding": coding})
    assert "content-encoding" not in plain.headers
    assert plain.body == wanted


# A ClickHouse server only looks for the client's end when it is asked to.
CANCELLING = {"cancel_http_readonly_queries_on_client_close": "1"}


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
    running = (
        f"SELECT count() FROM system.processes WHERE position(query, '{mark}') > 0 "
        "AND query LIKE 'SELECT count() AS%'"
    )
    deadline = time.monotonic() + 120
    while value(clickhouse_url, running) != "1":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    link.close()
    assert_gone(clickhouse_url, mark)


@pytest.mark.parametrize("coding", ["", "lz4", "zstd", "gzip"])
def test_an_error_in_mid_stream_cannot_be_missed(clickhouse_url: str, coding: str) -> None:
    sql = "SELECT number, throwIf(number = 3000000, 'in the middle') FROM numbers(5000000)"
    answer = call(
        clickhouse_url, sql, {"Accept-Encoding": coding}, enable_http_compression="1", max_threads="1"
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
    watch = Stopwatch()
    threads = [threading.Thread(target=call, args=(clickhouse_url, "SELECT sleep(1)")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watch.seconds < 4

"""clickhouse-connect with its default settings, with and without compression, talks to the local server."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

pytestmark = pytest.mark.integration

TABLE = """CREATE TABLE events (
    id UInt32, name String, kind LowCardinality(String), note Nullable(String), at DateTime64(6, 'UTC'),
    changes Array(Tuple(field String, before Nullable(String))), metadata Map(String, String), event_id UUID
) ENGINE = MergeTree ORDER BY id"""
AT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)


@pytest.fixture(params=[True, False, "lz4", "zstd", "gzip"])
def client(fresh_database: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    made = clickhouse_connect.get_client(dsn=fresh_database, compress=request.param)
    made.command(TABLE)
    yield made
    made.close()


def test_rows_go_in_and_come_out(client: Client) -> None:
    identity = uuid.uuid4()
    row = [1, "it's \\ \0 😀", "kind", None, AT, [("f", None), ("g", "x")], {"k'": "v\\"}, identity]
    assert client.insert("events", [row]).written_rows == 1
    (found,) = client.query("SELECT * FROM events").result_rows
    assert found[:4] == tuple(row[:4])
    assert found[4].astimezone(datetime.UTC) == AT
    assert [tuple(change.values()) for change in found[5]] == row[5]
    assert found[6:] == (row[6], identity)
    assert client.command("SELECT count() FROM events") == 1
    assert client.query("SELECT id FROM events WHERE name = {n:String}", {"n": row[1]}).result_rows == [(1,)]
    assert client.query("SELECT id FROM events WHERE id = 7").result_rows == []
    assert client.query("SELECT id, name FROM events LIMIT 0").column_names == ("id", "name")


def test_arrow_goes_in_and_comes_out(client: Client) -> None:
    whole = pa.table({"id": pa.array(range(150_000), pa.uint32()), "name": ["row"] * 150_000})
    settings = {"async_insert": 0, "insert_deduplication_token": "T", "deduplicate_insert": "enable"}
    assert client.insert_arrow("events", whole, settings=settings).written_rows == 150_000
    assert client.query_arrow("SELECT id, name FROM events ORDER BY id").num_rows == 150_000
    with client.query_arrow_stream("SELECT id FROM events") as batches:
        assert sum(batch.num_rows for batch in batches) == 150_000
    with client.query_row_block_stream("SELECT id FROM events") as blocks:
        assert sum(len(block) for block in blocks) == 150_000


def test_raw_bytes_go_in_and_come_out(client: Client) -> None:
    block = b'{"id": 5, "name": "raw"}\n'
    assert client.raw_insert("events", ["id", "name"], block, fmt="JSONEachRow").written_rows == 1
    assert client.raw_query("SELECT name FROM events", fmt="CSV") == b'"raw"\n'


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_errors_come_as_errors(client: Client) -> None:
    with pytest.raises(DatabaseError, match="code: 60"):
        client.query("SELECT * FROM nothing_here")
    with (
        pytest.raises(StreamFailureError, match="in the middle"),
        client.query_row_block_stream(
            "SELECT number, throwIf(number = 9000000, 'in the middle') FROM numbers(10000000)"
        ) as blocks,
    ):
        for _ in blocks:
            pass

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import pyarrow as pa
import pytest

from auditlog_schemas.errors import ConfigError, StorageRejected, StorageUnavailable
from auditlog_storage.connection import Connection
from auditlog_storage.settings import StorageSettings
from storage.event_log import Log

pytestmark = pytest.mark.integration

LAST_CHUNK = b"0\r\n\r\n"


class Breaker:
    """A TCP proxy that breaks the connection at an INSERT, or after so many bytes of answers.

    `late_error` is added to an answer, as ClickHouse does when a query fails after its first rows.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.inserts = 0
        self.answer_bytes_max = 1 << 40
        self.late_error = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.target) as server:
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()
            while data := client.recv(1 << 20):
                if b"query=INSERT" in data:
                    self.inserts += 1
                    return
                server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if self.late_error:
                    while not data.endswith(LAST_CHUNK):
                        data += server.recv(1 << 16)
                    size = f"{len(self.late_error):x}\r\n".encode()
                    data = data[: -len(LAST_CHUNK)] + size + self.late_error + b"\r\n" + LAST_CHUNK
                client.sendall(data[: self.answer_bytes_max])
                if len(data) > self.answer_bytes_max:
                    client.shutdown(socket.SHUT_RDWR)
                    return


@pytest.fixture
def breaker(clickhouse_url: str) -> Iterator[Breaker]:
    parts = urlsplit(clickhouse_url)
    breaker = Breaker(parts.hostname or "", parts.port or 0)
    yield breaker
    breaker.close()


def _through(connection: Connection, port: int) -> StorageSettings:
    parts = urlsplit(connection.settings.url.get_secret_value())
    login, at, _ = parts.netloc.rpartition("@")
    return StorageSettings.load(url=urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{port}")))


def test_an_insert_whose_answer_is_lost_is_sent_once(log: Log, breaker: Breaker) -> None:
    batch = log.batch([log.event()])
    with Connection(_through(log.connection, breaker.port)) as connection:
        assert connection.query_rows("SELECT 1") == [(1,)]
        with pytest.raises(StorageUnavailable, match="cannot be reached or did not answer"):
            connection.insert_batch("audit_events", batch, "token")
    assert breaker.inserts == 1


@pytest.mark.parametrize("read", [Connection.query_rows, Connection.query_arrow])
def test_half_an_answer_is_no_answer(
    log: Log, breaker: Breaker, read: Callable[[Connection, str], object]
) -> None:
    with Connection(_through(log.connection, breaker.port)) as connection:
        assert connection.query_rows("SELECT 1") == [(1,)]
        breaker.answer_bytes_max = 5_000
        with pytest.raises(StorageUnavailable):
            read(connection, "SELECT number, toString(number) FROM numbers(100000)")


@pytest.mark.parametrize("read", [Connection.query_rows, Connection.query_arrow])
def test_an_error_after_the_first_rows_is_no_answer(
    log: Log, breaker: Breaker, read: Callable[[Connection, str], object]
) -> None:
    with Connection(_through(log.connection, breaker.port)) as connection:
        assert connection.query_rows("SELECT 1") == [(1,)]
        breaker.late_error = b"Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)\n"
        with pytest.raises(StorageUnavailable, match=r"not whole|out of memory"):
            read(connection, "SELECT number FROM numbers(1000)")
        breaker.late_error = b""
        assert connection.query_rows("SELECT 1") == [(1,)]


def test_values_come_back_as_python_values(log: Log) -> None:
    values = {
        "text": "it's \\ \t\n\r\0 `\"` 😀 '); DROP TABLE audit_events; --",
        "texts": ["a'b", "c\\", "", "NULL", "\\N"],
        "id": UUID(int=1),
        "number": -(2**63),
        "yes": True,
    }
    sql = "SELECT {text:String}, {texts:Array(String)}, {id:UUID}, {number:Int64}, {yes:Bool}"
    assert log.connection.query_rows(sql, values) == [tuple(values.values())]
    sql = "SELECT fromUnixTimestamp64Micro({micros:Int64}, 'UTC')"
    [(moment,)] = log.connection.query_rows(sql, {"micros": 1_772_366_400_000_001})
    assert moment == datetime(2026, 3, 1, 12, 0, 0, 1, UTC)


def test_arrow_brings_uuids_as_bytes(log: Log) -> None:
    sql = "SELECT {id:UUID} AS id, 'x' AS text"
    table = log.connection.query_arrow(sql, {"id": UUID(int=258)})
    assert table.schema.types == [pa.binary(16), pa.string()]
    assert table.to_pylist() == [{"id": UUID(int=258).bytes, "text": "x"}]


def test_threads_share_a_connection(log: Log) -> None:
    few = log.connection.settings.model_copy(update={"connections_max": 3})
    with Connection(few) as connection, ThreadPoolExecutor(12) as threads:
        rows = threads.map(lambda n: connection.query_rows("SELECT {n:Int64}", {"n": n}), range(60))
        assert [row for [(row,)] in rows] == list(range(60))


def test_the_servers_own_errors_are_told_apart(unmade: Connection) -> None:
    with pytest.raises(ConfigError, match="auditlog migrate"):
        unmade.query_rows("SELECT 1")
    unmade.command(f"CREATE DATABASE {unmade.database}", in_database=False)
    with pytest.raises(StorageRejected, match="auditlog migrate") as missing:
        unmade.query_rows("SELECT * FROM no_such_table")
    assert missing.value.code == 60
    with pytest.raises(StorageRejected) as syntax:
        unmade.command("SELECT FROM WHERE")
    assert syntax.value.code == 62
    with pytest.raises(StorageUnavailable):
        unmade.query_rows(
            "SELECT sleepEachRow(0.5) FROM numbers(6)",
            settings={"max_execution_time": 1, "max_block_size": 1},
        )


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with Connection(StorageSettings.load(url=f"http://127.0.0.1:{port}/audit")) as connection:
        with pytest.raises(StorageUnavailable, match=r"http://default@127\.0\.0\.1"):
            connection.query_rows("SELECT 1")
        with pytest.raises(StorageUnavailable):
            connection.wait_until_ready(0.5)


def test_ready_before_the_database_exists(unmade: Connection) -> None:
    unmade.wait_until_ready(5)


def test_it_connects_again_after_close(log: Log) -> None:
    log.connection.close()
    assert log.connection.query_rows("SELECT 1") == [(1,)]

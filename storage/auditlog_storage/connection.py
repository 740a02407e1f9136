"""One way to ClickHouse: HTTP through clickhouse-connect, with its errors turned into ours."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal, Self, cast

import pyarrow as pa
from clickhouse_connect.driver.exceptions import Error, StreamFailureError
from clickhouse_connect.driver.httpclient import HttpClient
from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3.exceptions import HTTPError

from auditlog_schemas.errors import StorageUnavailable
from auditlog_storage.parameters import checked
from auditlog_storage.server_errors import translate
from auditlog_storage.settings import StorageSettings
from auditlog_storage.table import quoted
from auditlog_storage.tables import INSERT_SETTINGS

Parameters = Mapping[str, object]
Settings = Mapping[str, int | str]

# It warns of every failed request, and each of them is raised here anyway.
logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)

_NOTHING: Final[Mapping[str, Any]] = {}
_READY_PAUSE_SECONDS: Final = 0.2

# As clickhouse-connect sets them for its own Arrow queries.
_ARROW_SETTINGS: Final[Settings] = {
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_compression_method": "none",
    "output_format_arrow_low_cardinality_as_dictionary": 0,
}


class Connection:
    """ClickHouse over HTTP, for any number of threads.

    Making one does no I/O: the first request connects, and so does the first one after a failure. It has
    no session, so threads share it; at most `connections_max` requests run at once and others wait. Do not
    carry one over a fork.

    Values travel only as ``{name:Type}`` parameters of the statement, never inside its text.

    Every method raises:
        StorageUnavailable: no answer, or one that says to try again.
        ConfigError: user, password, database or rights are wrong.
        StorageRejected: any other error of ClickHouse, with its code; or a parameter does not fit its type.
    """

    def __init__(self, settings: StorageSettings) -> None:
        self.settings = settings
        self.address = settings.address
        self._lock = threading.Lock()
        self._client: HttpClient | None = None

    @property
    def database(self) -> str:
        """Return the database that unqualified names mean."""
        return self.address.database

    def query_rows(
        self, sql: str, parameters: Parameters = _NOTHING, settings: Settings = _NOTHING
    ) -> list[tuple[Any, ...]]:
        """Run a SELECT and return its rows as Python values; times are aware UTC."""
        with self._translated() as client:
            result = client.query(sql, parameters=checked(sql, parameters), settings=dict(settings))
            return [tuple(row) for row in result.result_rows]

    def query_arrow(
        self, sql: str, parameters: Parameters = _NOTHING, settings: Settings = _NOTHING
    ) -> pa.Table:
        """Run a SELECT and return its result as one Arrow table, with UUIDs as 16 bytes."""
        with self._translated() as client:
            table = client.query_arrow(sql, parameters=checked(sql, parameters), settings=dict(settings))
        return _plain_uuids(table)

    @contextmanager
    def arrow_batches(
        self, sql: str, parameters: Parameters = _NOTHING, settings: Settings = _NOTHING
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        """Run a SELECT and yield its result batch by batch, in constant memory; UUIDs are an extension type.

        A result that breaks off raises StorageUnavailable, whatever the error was: it came too late for a
        status. Of a result that ends between two batches only the number of rows says whether it is whole,
        so compare it with a count. Leaving early ends the connection, and with it the query.
        """
        # Otherwise a query whose reader has gone runs on.
        settings = {"cancel_http_readonly_queries_on_client_close": 1, **_ARROW_SETTINGS, **settings}
        with self._translated() as client:
            answer: Any = client.raw_stream(
                sql, parameters=checked(sql, parameters), settings=dict(settings), fmt="ArrowStream"
            )
            try:
                yield iter(pa.ipc.open_stream(answer))
            finally:
                # Closed alone, it would keep its place in the pool.
                answer.close()
                answer.release_conn()

    def command(
        self,
        sql: str,
        parameters: Parameters = _NOTHING,
        settings: Settings = _NOTHING,
        *,
        in_database: bool = True,
    ) -> None:
        """Run a statement that returns no rows.

        Args:
            sql: the statement.
            parameters: values of its ``{name:Type}`` placeholders.
            settings: ClickHouse settings of this statement.
            in_database: False when the database may not exist yet.
        """
        with self._translated() as client:
            client.command(
                sql, parameters=checked(sql, parameters), settings=dict(settings), use_database=in_database
            )

    def insert_batch(
        self,
        table: str,
        batch: pa.RecordBatch,
        token: str | None,
        settings: Settings = _NOTHING,
        *,
        select: str = "",
    ) -> None:
        """Insert one record batch with one synchronous INSERT.

        clickhouse-connect re-sends the body of an insert when the connection closes before the answer, but
        only a body of type bytes. This one is a memoryview, so it is sent once; what a lost answer means
        is for the caller to find out.

        Args:
            table: the table's name.
            batch: its rows; the column names are those of the table.
            token: names this block: a block of a known token is dropped, whatever its rows. None turns
                deduplication off.
            settings: ClickHouse settings on top of `INSERT_SETTINGS`.
            select: a SELECT from ``input('…')`` through which the rows pass; without it they go in as they
                are.
        """
        if token is None:
            deduplication: dict[str, int | str] = {"deduplicate_insert": "disable", "insert_deduplicate": 0}
        else:
            deduplication = {
                "deduplicate_insert": "enable",
                "deduplicate_insert_select": "force_enable",
                "insert_deduplicate": 1,
                "insert_deduplication_token": token,
            }
        body = _arrow_stream(batch, self.settings.insert_compression)
        columns = ", ".join(quoted(name) for name in batch.schema.names)
        with self._translated() as client:
            client.raw_insert(
                # The client puts INSERT INTO before this and FORMAT behind it.
                f"{quoted(table)} ({columns}) {select}".rstrip(),
                None,
                cast(bytes, memoryview(body)),
                {**INSERT_SETTINGS, **deduplication, **settings},
                "ArrowStream",
            )

    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Return once ClickHouse answers; its database need not exist yet.

        Raises:
            StorageUnavailable: it did not within the time.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return self.command("SELECT 1", in_database=False)
            except StorageUnavailable:
                if time.monotonic() + _READY_PAUSE_SECONDS > deadline:
                    raise
            time.sleep(_READY_PAUSE_SECONDS)

    def close(self) -> None:
        """Close the sockets; a later request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.http.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @contextmanager
    def _translated(self) -> Iterator[HttpClient]:
        try:
            yield self._connected()
        except Error as error:
            raise translate(error, repr(self.address)) from error
        except (pa.ArrowInvalid, OSError, HTTPError) as error:
            # The status was 200 and the rows had begun: an error of ClickHouse after that stands in their
            # place, and clickhouse-connect looks for it in rows, but not in Arrow.
            broken = StreamFailureError(
                f"the result is not whole ({error}); its log and system.query_log say why"
            )
            raise translate(broken, repr(self.address)) from error

    def _connected(self) -> HttpClient:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> HttpClient:
        at, limits = self.address, self.settings
        client = HttpClient(
            at.scheme,
            at.host,
            at.port,
            at.user,
            at.password,
            None,
            compress=False,
            connect_timeout=limits.connect_timeout_seconds,
            send_receive_timeout=limits.request_timeout_seconds,
            client_name="auditlog",
            autogenerate_session_id=False,
            tz_mode="aware",
            pool_mgr=get_pool_manager(maxsize=limits.connections_max, block=True),
        )
        # Only now: the client asks the server about itself when it is made, and the database may not exist.
        client.database = at.database
        client.http_retries = 0
        return client


def _arrow_stream(batch: pa.RecordBatch, compression: Literal["none", "lz4", "zstd"]) -> pa.Buffer:
    options = pa.ipc.IpcWriteOptions(compression=None if compression == "none" else compression)
    # Written to nowhere first: a stream that grows by doubling takes up to twice the memory, copied over and
    # over. With compression that would be the dearer way.
    if compression == "none":
        counter = pa.MockOutputStream()
        _write_stream(counter, batch, options)
        whole = pa.allocate_buffer(counter.size())
        _write_stream(pa.FixedSizeBufferWriter(whole), batch, options)
        return whole
    sink = pa.BufferOutputStream()
    _write_stream(sink, batch, options)
    return sink.getvalue()


def _write_stream(sink: pa.NativeFile, batch: pa.RecordBatch, options: pa.ipc.IpcWriteOptions) -> None:
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)


def _plain_uuids(table: pa.Table) -> pa.Table:
    # ClickHouse sends a UUID as Arrow's extension type, on which compute functions do not work.
    plain = [
        pa.field(item.name, item.type.storage_type, item.nullable)
        if isinstance(item.type, pa.BaseExtensionType)
        else item
        for item in table.schema
    ]
    return table.cast(pa.schema(plain))

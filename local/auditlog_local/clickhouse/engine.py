"""The chDB engine in this process: opening, connections, classification, killing, closing.

Facts about chDB 4.4 this relies on, each covered by a test: a process opens one data path only; connections
to it are cheap (under 2 ms) and separate in settings, current database and temporary tables; statements on
different connections run concurrently; a connection with an open stream takes no second statement; KILL
QUERY reaches a statement on another connection, found by its `log_comment` since ids cannot be chosen; the
engine must never be forked.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from chdb.state import connect
from chdb.state.sqlitelike import Connection

from auditlog_local.clickhouse.errors import SOCKET_TIMEOUT, EngineError
from auditlog_local.clickhouse.tokens import quote_identifier, quote_string

_REOPEN_WAIT_SECONDS = 30.0
_FAILED_WRITES = """
    SELECT value FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'
    SETTINGS max_threads = 1
"""
_BROKEN_PROJECTIONS = """
    SELECT DISTINCT toJSONString((database, table, name, partition_id))
    FROM system.projection_parts WHERE active AND is_broken
    FORMAT TSVRaw
"""


class Kind(Enum):
    """What a statement would do, in the engine's own opinion."""

    READ_ONLY = "READ_ONLY"
    MUTATING = "MUTATING"
    MUTATING_GLOBAL = "MUTATING_GLOBAL"
    CONTROL = "CONTROL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Classified:
    """A statement's kind and how many statements its text holds (0 when it does not parse)."""

    kind: Kind
    count: int


class Engine:
    """The engine over one data directory; close it so that everything is on disk.

    Args:
        data_dir: where the engine keeps its data; chDB cuts the path at a "?", so give a relative one.
        config_path: a ClickHouse configuration file, read at every opening; its path likewise.

    Raises:
        EngineError: the engine does not open.
    """

    def __init__(self, data_dir: Path, config_path: Path) -> None:
        self._location = f"{data_dir}?config-file={config_path}"
        self._gate = threading.Condition()
        self._active = 0
        self._closing = False
        self._control_lock = threading.Lock()
        self._control = self._connect()
        self.version = self._scalar("SELECT version()")
        self.timezone = self._scalar("SELECT timezone()")
        self.host_name = self._scalar("SELECT hostName()")

    def _connect(self) -> Connection:
        try:
            return connect(self._location)
        except RuntimeError as error:
            raise EngineError.from_engine(error) from error

    def _scalar(self, sql: str) -> str:
        with self._control_lock:
            return bytes(self._control.query(sql, "TabSeparated").bytes()).decode().rstrip("\n")

    def _told(self, sql: str) -> str:
        try:
            return self._scalar(sql)
        except RuntimeError as error:
            raise EngineError.from_engine(error) from error

    def connect(self) -> Connection:
        """A connection of its own; call it inside `statement` only."""
        return self._connect()

    @contextmanager
    def statement(self) -> Iterator[None]:
        """While inside, the engine is neither reopened nor closed."""
        with self._gate:
            self._gate.wait_for(lambda: not self._closing)
            self._active += 1
        try:
            yield
        finally:
            with self._gate:
                self._active -= 1
                self._gate.notify_all()

    def classify(self, sql: bytes) -> Classified:
        """What the statement would do, without running it."""
        with self._control_lock:
            told = self._control._conn.classify_query(sql.decode("utf-8", "replace"))
        return Classified(Kind(told["query_class"].name), int(told["statement_count"]))

    def failed_writes(self) -> int:
        """How many writes to files have failed since this process began, whatever the engine said of them.

        Raises:
            EngineError: the engine does not tell.
        """
        return int(self._told(_FAILED_WRITES) or 0)

    def broken_projections(self) -> list[tuple[str, str, str, str]]:
        """Database, table, projection and partition id of each damaged one, as of the last opening.

        Raises:
            EngineError: the engine does not tell.
        """
        lines = self._told(_BROKEN_PROJECTIONS).splitlines()
        return [(*json.loads(line),) for line in lines]

    def materialize_projection(self, database: str, table: str, projection: str, partition_id: str) -> None:
        """Begin to make a projection again in the parts of a partition that lack it or have it damaged.

        Raises:
            EngineError: the engine refuses.
        """
        where = quote_identifier(database) + b"." + quote_identifier(table)
        sql = b"ALTER TABLE %b MATERIALIZE PROJECTION %b IN PARTITION ID %b SETTINGS mutations_sync = 0" % (
            where, quote_identifier(projection), quote_string(partition_id),
        )  # fmt: skip
        self._told(sql.decode())

    def kill(self, tag: str) -> None:
        """Ask the statements whose `log_comment` is ``tag`` to stop; they end with error 394 soon after."""
        sql = b"KILL QUERY WHERE Settings['log_comment'] = " + quote_string(tag) + b" ASYNC"
        with self._control_lock, suppress(RuntimeError):
            self._control.query(sql.decode(), "TabSeparated")

    def reopen(self, prepare: Callable[[], None]) -> None:
        """Close the engine, call ``prepare`` and open it again, between statements (about 50 ms).

        Raises:
            EngineError: running statements did not end within 30 s (209), or the engine does not open again.
        """
        with self._gate:
            self._closing = True
            try:
                if not self._gate.wait_for(lambda: self._active == 0, _REOPEN_WAIT_SECONDS):
                    raise EngineError(
                        SOCKET_TIMEOUT, "running statements keep the engine from reloading its users"
                    )
                with self._control_lock:
                    prepare()
                    self._control.close()
                    self._control = self._connect()
            finally:
                self._closing = False
                self._gate.notify_all()

    def close(self) -> None:
        """Close the engine; statements must have ended."""
        with self._control_lock:
            self._control.close()

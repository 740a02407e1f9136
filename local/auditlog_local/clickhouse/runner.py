"""Runs statements on the engine, each in a worker thread of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from chdb.state.sqlitelike import Connection

from auditlog_local.clickhouse.access import AccessStore, User
from auditlog_local.clickhouse.access_sql import access_statement
from auditlog_local.clickhouse.body import Body
from auditlog_local.clickhouse.engine import Engine, Kind
from auditlog_local.clickhouse.errors import (
    ACCESS_DENIED,
    NOT_IMPLEMENTED,
    QUERY_WAS_CANCELLED,
    READONLY,
    SYNTAX_ERROR,
    EngineError,
)
from auditlog_local.clickhouse.feed import feed
from auditlog_local.clickhouse.job import Job, Outcome
from auditlog_local.clickhouse.prepared import prepared_connection
from auditlog_local.clickhouse.request import QueryRequest
from auditlog_local.clickhouse.sessions import SessionRegistry
from auditlog_local.clickhouse.statement import Shape, Statement
from auditlog_local.clickhouse.tokens import tokens, unquote
from auditlog_local.clickhouse.write_guard import WriteGuard

_WRITE_METADATA = (b"CREATE", b"ALTER", b"RENAME", b"EXCHANGE")


class Runner:
    """The way from a statement to the engine.

    Args:
        engine: the open engine.
        access: its users.
        sessions: the HTTP sessions.
        guard: looks after the engine's writes.
    """

    def __init__(
        self,
        engine: Engine,
        access: AccessStore,
        sessions: SessionRegistry,
        guard: WriteGuard,
    ) -> None:
        self._engine = engine
        self._guard = guard
        self._access = access
        self._sessions = sessions

    def admit(self, request: QueryRequest, user: User, statement: Statement) -> Job:
        """Check a statement against what its user may do at all.

        Raises:
            EngineError: several statements (62), or a kind this user may not run (497; 164 when read-only).
        """
        sql = statement.sql
        if statement.shape in (Shape.INSERT, Shape.INSERT_FROM_INPUT):
            sql += b" FORMAT Native"
        with self._engine.statement():
            classified = self._engine.classify(sql)
        if classified.count > 1:
            raise EngineError(SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed)")
        if request.roles:
            raise EngineError(NOT_IMPLEMENTED, "the role parameter is not served here")
        if user.role is not None and classified.kind not in (Kind.READ_ONLY, Kind.MUTATING):
            if classified.kind is Kind.UNKNOWN:
                raise EngineError(SYNTAX_ERROR, "Syntax error: the statement does not parse")
            if user.settings.get("readonly", "0") != "0":
                raise EngineError(READONLY, f"{user.name}: Cannot execute query in readonly mode.")
            raise EngineError(
                ACCESS_DENIED, f"{user.name}: Not enough privileges for this kind of statement."
            )
        if user.role is not None and _reads_files(statement.sql):
            raise EngineError(ACCESS_DENIED, f"{user.name}: Not enough privileges. file() is not allowed.")
        return Job(request, user, statement, classified)

    def run(self, job: Job, body: Body, output_fd: int) -> Outcome:
        """Run the job; a SELECT's result goes into ``output_fd``, which is closed at the end.

        Raises:
            EngineError: whatever the engine said.
        """
        try:
            if job.cancelled.is_set():
                raise EngineError(QUERY_WAS_CANCELLED, "Query was cancelled.")
            if job.classified.kind is Kind.MUTATING_GLOBAL:
                change = access_statement(job.statement.sql)
                if change is not None:
                    return self._change_access(job, change)
            with (
                self._engine.statement(),
                self._sessions.use(job.user.name, job.request.session) as session,
                prepared_connection(self._engine, job, session) as connection,
            ):
                return self._run_on(connection, job, body, output_fd)
        except EngineError:
            raise
        except RuntimeError as error:
            raise EngineError.from_engine(error) from error
        finally:
            try:
                self._guard.look_at_end(job.reads_only)
            finally:
                job.ended.set()
                os.close(output_fd)

    def _change_access(self, job: Job, change: Callable[[AccessStore], None]) -> Outcome:
        if job.request.read_only or job.request.settings.get("readonly", "0") != "0":
            raise EngineError(READONLY, f"{job.user.name}: Cannot execute query in readonly mode.")
        change(self._access)
        if self._access.grants_changed:
            self._engine.reopen(self._before_reopening)
        return Outcome(b"", False, job.request.default_format, {})

    def _before_reopening(self) -> None:
        self._sessions.drop_connections()
        self._access.write_config()

    def _run_on(self, connection: Connection, job: Job, body: Body, output_fd: int) -> Outcome:
        statement, request = job.statement, job.request
        if statement.first_word in _WRITE_METADATA:
            self._guard.require_space()
        match statement.shape:
            case Shape.SELECT:
                sql = statement.with_output(f"/dev/fd/{output_fd}", request.default_format)
                answer = connection.query(sql, "TabSeparated", params=request.params)  # type: ignore[arg-type]
                return Outcome(b"", True, statement.format or request.default_format, _counts(answer))
            case Shape.INSERT | Shape.INSERT_FROM_INPUT:
                with feed(body, statement.data_start) as path:
                    answer = connection.query(
                        statement.with_data(path),  # type: ignore[arg-type]
                        "TabSeparated",
                        params=request.params,
                    )
                return Outcome(b"", False, request.default_format, _counts(answer))
            case Shape.OTHER:
                answer = connection.query(
                    statement.sql,  # type: ignore[arg-type]
                    request.default_format,
                    params=request.params,
                )
                result = bytes(answer.bytes())
                answers = job.reads_only or bool(result)
                return Outcome(result, answers, request.default_format, _counts(answer))


def _reads_files(sql: bytes) -> bool:
    """Whether the statement calls `file`: as a function it needs no grant, and here it may read any file."""
    return any(
        called.is_symbol(b"(") and name.kind in ("word", "quoted") and unquote(name).lower() == "file"
        for name, called in pairwise(tokens(sql))
    )


def _counts(answer: Any) -> dict[str, str]:
    """`X-ClickHouse-Summary` of a result object of chDB."""
    return {
        "read_rows": str(answer.storage_rows_read() or answer.rows_read()),
        "read_bytes": str(answer.storage_bytes_read() or answer.bytes_read()),
        "written_rows": str(answer.rows_written()),
        "written_bytes": str(answer.bytes_written()),
        "total_rows_to_read": "0",
        "result_rows": str(answer.rows_read()),
        "result_bytes": str(answer.bytes_read()),
        "elapsed_ns": str(int(answer.elapsed() * 1e9)),
    }

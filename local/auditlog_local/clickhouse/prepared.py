"""A connection on which a request's user, database and settings hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chdb.state.sqlitelike import Connection

from auditlog_local.clickhouse.engine import Engine
from auditlog_local.clickhouse.errors import READONLY, EngineError
from auditlog_local.clickhouse.job import Job
from auditlog_local.clickhouse.sessions import HeldSession, remember_settings
from auditlog_local.clickhouse.tokens import quote_identifier, quote_string

# What the engine inside chDB sets differently from a ClickHouse server.
_LIKE_A_SERVER = {"implicit_select": "0", "allow_introspection_functions": "0"}


@contextmanager
def prepared_connection(engine: Engine, job: Job, session: HeldSession | None) -> Iterator[Connection]:
    """The connection a job runs on: a fresh one, or its session's own once the session has state.

    Settings are given by SET before the statement, so that a statement's own SETTINGS win and every kind of
    statement, an INSERT too, gets them.
    """
    if session is not None and session.connection is None and _leaves_state(job):
        session.connection = engine.connect()
        _set(session.connection, _LIKE_A_SERVER)
    if session is not None and session.connection is not None:
        with _session_connection(job, session) as connection:
            yield connection
        return
    connection = engine.connect()
    try:
        _apply(connection, job)
        yield connection
    finally:
        connection.close()


def _leaves_state(job: Job) -> bool:
    statement = job.statement
    return statement.creates_temporary or statement.first_word in (b"SET", b"USE")


@contextmanager
def _session_connection(job: Job, session: HeldSession) -> Iterator[Connection]:
    """The session's connection; SET readonly could not be undone there, so the statement's kind decides."""
    connection = session.connection
    assert connection is not None
    settings = dict(job.request.settings)
    if (settings.pop("readonly", "0") != "0" or job.request.read_only) and not job.reads_only:
        raise EngineError(READONLY, f"{job.user.name}: Cannot execute query in readonly mode.")
    undo = remember_settings(connection, list(settings))
    try:
        _use_database(connection, job)
        _set(connection, {"log_comment": job.tag, **settings})
        yield connection
    finally:
        if undo:
            connection.query(undo.decode(), "TabSeparated")


def _apply(connection: Connection, job: Job) -> None:
    """Set what holds for the user and the request, in as few statements as possible: each takes its time.

    `readonly` comes last, because nothing can be set after it, except of a user that is bound by it: what
    such a user's request sets is for the engine to refuse. A GET only reads.
    """
    of_user, of_request = dict(job.user.settings), dict(job.request.settings)
    bound_by_user = of_user.pop("readonly", "0")
    read_only = of_request.pop("readonly", bound_by_user)
    if read_only == "0" and job.request.read_only:
        read_only = "2"
    if job.user.role is not None:
        connection.query(f"SET ROLE {job.user.role}", "TabSeparated")
    _use_database(connection, job)
    first = {**_LIKE_A_SERVER, "log_comment": job.tag, **of_user}
    if bound_by_user == "0":
        _set(connection, {**first, **of_request})
    else:
        _set(connection, first)
        _set(connection, {"readonly": bound_by_user})
        _set(connection, of_request)
    if read_only != bound_by_user:
        _set(connection, {"readonly": read_only})


def _use_database(connection: Connection, job: Job) -> None:
    if job.request.database is not None:
        connection.query((b"USE " + quote_identifier(job.request.database)).decode(), "TabSeparated")


def _set(connection: Connection, settings: dict[str, str]) -> None:
    if settings:
        assignments = b", ".join(
            quote_identifier(name) + b" = " + quote_string(value) for name, value in settings.items()
        )
        connection.query((b"SET " + assignments).decode("utf-8", "replace"), "TabSeparated")

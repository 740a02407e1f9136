from __future__ import annotations

import pytest
from clickhouse_connect.driver.exceptions import (
    DatabaseError,
    DataError,
    Error,
    OperationalError,
    ProgrammingError,
    StreamFailureError,
)

from auditlog_schemas.errors import AuditError, ConfigError, StorageRejected, StorageUnavailable
from auditlog_storage.connection import Connection
from auditlog_storage.server_errors import CONFIG, HINTS, RETRY, translate


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError("connection refused"), StorageUnavailable),
        (StreamFailureError("half an answer"), StorageUnavailable),
        (DatabaseError("HTTP driver received HTTP status 502"), StorageUnavailable),
        (DatabaseError("too many parts", code=252), StorageUnavailable),
        (OperationalError("no space", code=243), StorageUnavailable),
        (DatabaseError("wrong password", code=516), ConfigError),
        (DatabaseError("no such table", code=60), StorageRejected),
        (DatabaseError("a code of the future", code=98_765), StorageRejected),
        (ProgrammingError("unusable setting"), StorageRejected),
        (DataError("unusable value"), StorageRejected),
    ],
)
def test_each_answer_has_its_class(error: Error, expected: type[AuditError]) -> None:
    translated = translate(error, "http://default@db:8123/audit")
    assert type(translated) is expected
    assert "http://default@db:8123/audit" in str(translated)
    assert str(error) in str(translated)


def test_a_rejection_carries_the_code() -> None:
    rejected = translate(DatabaseError("no such table", code=60), "db")
    assert isinstance(rejected, StorageRejected)
    assert rejected.code == 60
    assert "auditlog migrate" in str(rejected)


def test_a_code_has_one_meaning() -> None:
    assert not RETRY.keys() & CONFIG.keys()
    assert not HINTS.keys() & (RETRY.keys() | CONFIG.keys())


@pytest.mark.integration
def test_the_names_are_the_servers(connection: Connection) -> None:
    known = {code: name for code, (name, _) in (RETRY | CONFIG).items()}
    rows = connection.query_rows(
        "SELECT code, errorCodeToName(code) FROM (SELECT arrayJoin({codes:Array(Int32)}) AS code)",
        {"codes": list(known)},
    )
    assert dict(rows) == known

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from auditlog_schemas.catalog import Catalog
from auditlog_schemas.errors import ConfigError
from auditlog_storage.analyst import ensure_analyst
from auditlog_storage.connection import Connection
from auditlog_storage.migrations import migrate
from storage.analyst_login import PASSWORD, analyst_connection
from storage.event_log import Log

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def analyst(shared_log: Log, catalog: Catalog) -> Iterator[Connection]:
    shared_log.store(shared_log.event(account_id="acc_read"))
    with analyst_connection(shared_log.connection, catalog) as connection:
        yield connection


def test_it_reads(analyst: Connection, catalog: Catalog) -> None:
    sql = "SELECT count() FROM audit_log_v1 WHERE account_id = 'acc_read'"
    assert analyst.query_rows(sql) == [(1,)]
    assert analyst.query_rows("SELECT count() FROM audit_actions") == [(len(catalog.actions),)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM audit_ranges",
        "SELECT count() FROM audit_keys",
        "SELECT count() FROM audit_migrations",
        "INSERT INTO audit_actions (action) VALUES ('x')",
        "ALTER TABLE audit_events DELETE WHERE 1",
        "TRUNCATE TABLE audit_events",
        "DROP VIEW audit_log_v1",
        "CREATE TABLE mine (a Int8) ENGINE = Memory",
        "CREATE USER another",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    ],
)
def test_it_does_nothing_else(analyst: Connection, sql: str) -> None:
    with pytest.raises(ConfigError):
        analyst.command(sql)


def test_its_password_is_needed(shared_log: Log, catalog: Catalog) -> None:
    with (
        analyst_connection(shared_log.connection, catalog, password="guessed") as guesser,
        pytest.raises(ConfigError, match="check user and password"),
    ):
        guesser.query_rows("SELECT 1")


def test_migrating_without_its_password_leaves_it_alone(
    shared_log: Log, analyst: Connection, catalog: Catalog
) -> None:
    assert migrate(shared_log.connection, catalog).analyst.status == "no_password"
    assert analyst.query_rows("SELECT 1") == [(1,)]


def test_a_refusal_is_an_outcome_without_the_password(shared_log: Log, catalog: Catalog) -> None:
    with analyst_connection(shared_log.connection, catalog) as analyst:
        settings = analyst.settings.model_copy(update={"analyst_password": SecretStr(PASSWORD)})
    with Connection(settings) as without_rights:
        outcome = ensure_analyst(without_rights)
    assert outcome.status == "refused"
    assert PASSWORD not in outcome.detail

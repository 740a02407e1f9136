from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from auditlog_schemas.catalog import Catalog
from auditlog_schemas.errors import ConfigError
from auditlog_storage import tables
from auditlog_storage.connection import Connection
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import USER_PASSWORDS
from auditlog_storage.table import Table
from auditlog_storage.users import ANALYST, LIMITS, MIGRATE, RIGHTS, ensure_users, user_statements
from storage.event_log import Log
from storage.user_login import PASSWORD, user_connection


@pytest.fixture(scope="module")
def analyst(shared_log: Log, catalog: Catalog) -> Iterator[Connection]:
    shared_log.store(shared_log.event(account_id="acc_read"))
    with user_connection(shared_log.connection, catalog) as connection:
        yield connection


def test_every_table_says_what_each_user_may_do_with_it() -> None:
    made = {table.name for table in vars(tables).values() if isinstance(table, Table)} | {"audit_log_v1"}
    unsaid = made - RIGHTS.keys()
    assert not unsaid, f"add {sorted(unsaid)} to RIGHTS in auditlog_storage/users.py: who may read or write?"
    assert RIGHTS.keys() == made, "RIGHTS names a table that does not exist"
    users = {user for rights in RIGHTS.values() for user in rights}
    assert users == USER_PASSWORDS.keys(), "a user without a password's setting is never made"


def test_the_statements_of_a_user() -> None:
    statements = user_statements(ANALYST, "my`db", "it's \\ long enough")
    for statement in statements[:2]:
        assert "IDENTIFIED WITH sha256_password BY 'it\\'s \\\\ long enough' SETTINGS" in statement
        assert all(f"{name} = {value} CONST" in statement for name, value in LIMITS.items())
    readable = [name for name, rights in RIGHTS.items() if ANALYST in rights]
    assert statements[2:] == [f"GRANT SELECT ON `my\\`db`.`{name}` TO auditlog_analyst" for name in readable]


@pytest.mark.integration
def test_the_analyst_reads(analyst: Connection, catalog: Catalog) -> None:
    sql = "SELECT count() FROM audit_log_v1 WHERE account_id = 'acc_read'"
    assert analyst.query_rows(sql) == [(1,)]
    assert analyst.query_rows("SELECT count() FROM audit_actions") == [(len(catalog.actions),)]


@pytest.mark.integration
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM audit_ranges",
        "SELECT count() FROM audit_keys",
        "SELECT count() FROM audit_tokens",
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
def test_the_analyst_does_nothing_else(analyst: Connection, sql: str) -> None:
    with pytest.raises(ConfigError):
        analyst.command(sql)


@pytest.mark.integration
def test_a_users_password_is_needed(shared_log: Log, catalog: Catalog) -> None:
    with (
        user_connection(shared_log.connection, catalog, password="guessed") as guesser,
        pytest.raises(ConfigError, match="check user and password"),
    ):
        guesser.query_rows("SELECT 1")


@pytest.mark.integration
def test_migrating_without_its_password_leaves_a_user_alone(
    shared_log: Log, analyst: Connection, catalog: Catalog
) -> None:
    assert migrate(shared_log.connection, catalog).users == ()
    assert analyst.query_rows("SELECT 1") == [(1,)]


@pytest.mark.integration
@pytest.mark.parametrize("user", USER_PASSWORDS)
def test_migrating_makes_each_user_that_has_a_password(shared_log: Log, catalog: Catalog, user: str) -> None:
    assert user != MIGRATE
    with user_connection(shared_log.connection, catalog, user) as connection:
        assert connection.query_rows("SELECT count() >= 0 FROM audit_events") == [(1,)]
        with pytest.raises(ConfigError):
            connection.command("DROP TABLE audit_events")


@pytest.mark.integration
def test_a_refusal_is_an_outcome_without_the_password(shared_log: Log, catalog: Catalog) -> None:
    with user_connection(shared_log.connection, catalog) as analyst:
        settings = analyst.settings.model_copy(update={"analyst_password": SecretStr(PASSWORD)})
    with Connection(settings) as without_rights:
        [outcome] = ensure_users(without_rights)
    assert "would not make the user auditlog_analyst" in outcome.trouble
    assert PASSWORD not in outcome.trouble

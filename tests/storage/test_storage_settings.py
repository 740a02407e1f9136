from __future__ import annotations

import pytest

from auditlog_schemas.errors import ConfigError
from auditlog_storage.settings import Address, StorageSettings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AUDITLOG_CLICKHOUSE_URL", "AUDITLOG_ANALYST_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://db", Address("http", "db", 8123, "default", "", "default")),
        ("https://db/audit", Address("https", "db", 8443, "default", "", "audit")),
        ("http://u:p%40%2F%3A@db:9/a%20b", Address("http", "db", 9, "u", "p@/:", "a b")),
        ("http://[::1]:9000/x", Address("http", "::1", 9000, "default", "", "x")),
    ],
)
def test_a_url_is_taken_apart(url: str, address: Address) -> None:
    assert StorageSettings.load(url=url).address == address


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("clickhouse://db", "must start with http"),
        ("http://", "names no host"),
        ("http://db:port/x", "cannot be read"),
        ("http://db/x?timeout=1", "settings after"),
        ("http://db/x/y", "more than a database"),
    ],
)
def test_a_wrong_url_names_its_variable(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_CLICKHOUSE_URL", url)
    with pytest.raises(ConfigError, match=f"^AUDITLOG_CLICKHOUSE_URL: .*{message}"):
        StorageSettings.load()


def test_a_missing_url_is_said() -> None:
    with pytest.raises(ConfigError, match=r"^AUDITLOG_CLICKHOUSE_URL: is not set"):
        StorageSettings.load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUDITLOG_CLICKHOUSE_CONNECT_TIMEOUT_SECONDS", "0"),
        ("AUDITLOG_CLICKHOUSE_CONNECTIONS_MAX", "many"),
        ("AUDITLOG_CLICKHOUSE_INSERT_COMPRESSION", "brotli"),
        ("AUDITLOG_ANALYST_PASSWORD", "short"),
    ],
)
def test_a_wrong_value_names_its_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_CLICKHOUSE_URL", "http://db")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"^{name}: "):
        StorageSettings.load()


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_CLICKHOUSE_URL", "http://db/audit")
    monkeypatch.setenv("AUDITLOG_CLICKHOUSE_READ_SECONDS_MAX", "7")
    monkeypatch.setenv("AUDITLOG_ANALYST_PASSWORD", "correct horse battery")
    settings = StorageSettings.load()
    assert settings.read_seconds_max == 7
    assert settings.analyst_password is not None
    assert settings.analyst_password.get_secret_value() == "correct horse battery"


def test_no_password_is_ever_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = StorageSettings.load(url="http://u:s3cret@db/x", analyst_password="s3cret and more")
    assert "s3cret" not in repr(settings) + repr(settings.address) + str(settings)
    monkeypatch.setenv("AUDITLOG_CLICKHOUSE_URL", "ftp://u:s3cret@db/x")
    with pytest.raises(ConfigError) as raised:
        StorageSettings.load()
    assert "s3cret" not in str(raised.value)

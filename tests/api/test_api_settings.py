"""Settings of the API from the environment."""

from __future__ import annotations

import json

import pytest

from auditlog_api.settings import ApiSettings
from auditlog_schemas.errors import ConfigError

KEY = "correct-horse-battery-staple-0123456789"


def test_everything_has_a_default_and_listens_on_loopback() -> None:
    settings = ApiSettings.load()
    assert (settings.host, settings.port, settings.viewer_keys) == ("127.0.0.1", 8080, {})


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_API_PORT", "9000")
    monkeypatch.setenv("AUDITLOG_API_VIEWER_KEYS", json.dumps({"b": KEY, "a": KEY + "x"}))
    monkeypatch.setenv("AUDITLOG_API_CORS_ORIGINS", "https://app.example.com, http://localhost:3000")
    monkeypatch.setenv("AUDITLOG_API_SIGN_IN_URL", "")
    settings = ApiSettings.load(host="0.0.0.0")
    assert (settings.host, settings.port, settings.sign_in_url) == ("0.0.0.0", 9000, None)
    assert list(settings.viewer_keys) == ["b", "a"]
    assert settings.cors_origins == ("https://app.example.com", "http://localhost:3000")
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "eighty", "AUDITLOG_API_PORT: Input should be a valid integer"),
        ("VIEWER_KEYS", "nonsense", "AUDITLOG_API_VIEWER_KEYS: is not a JSON object"),
        (
            "VIEWER_KEYS",
            '{"a": "short-secret"}',
            "AUDITLOG_API_VIEWER_KEYS: key a needs a secret of at least 32",
        ),
        ("VIEWER_KEYS", json.dumps({"a b": KEY}), "AUDITLOG_API_VIEWER_KEYS: a key id has"),
        ("CORS_ORIGINS", "*", "AUDITLOG_API_CORS_ORIGINS: '\\*' is not an origin"),
        ("CORS_ORIGINS", "https://a.example/path", "AUDITLOG_API_CORS_ORIGINS: .* is not an origin"),
        ("SIGN_IN_URL", "javascript:alert(1)", "AUDITLOG_API_SIGN_IN_URL: must start with http"),
        ("QUERIES_MAX", "0", "AUDITLOG_API_QUERIES_MAX: "),
        ("TOKEN_KEPT_SECONDS", "3600", "AUDITLOG_API_TOKEN_KEPT_SECONDS: "),
    ],
)
def test_a_wrong_value_is_named_and_no_secret_is_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"AUDITLOG_API_{name}", value)
    with pytest.raises(ConfigError, match=message) as refused:
        ApiSettings.load()
    assert "short-secret" not in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([KEY], "is not a JSON object of key id to secret"),
        (KEY, "is not a JSON object of key id to secret"),
        ({"a": {"secret": "short-secret"}}, "key a needs a secret of at least 32 bytes"),
        ({"a": {"accounts": ["acc_1"]}}, "key a needs a secret of at least 32 bytes"),
        ({"a": [KEY]}, "key a needs a secret of at least 32 bytes"),
        ({"a": {"secret": [KEY]}}, "key a needs a secret of at least 32 bytes"),
        ({"a": {"secret": "\ud800" * 40}}, "key a needs a secret of at least 32 bytes"),
        ({"a": KEY, KEY: "a"}, "key number 2 needs a secret of at least 32 bytes"),
        ({"a": {"secret": KEY, "account": "acc_1"}}, "key a has a member that is not known here"),
        ({"a": {"secret": KEY, KEY: "acc_1"}}, "key a has a member that is not known here"),
        ({"a": {"secret": KEY, "accounts": "acc_1"}}, "key a: accounts is not a list of 1 to 10,000"),
        ({"a": {"secret": KEY, "accounts": []}}, "key a: accounts is not a list of 1 to 10,000"),
        ({"a": {"secret": KEY, "accounts": None}}, "key a: accounts is not a list of 1 to 10,000"),
        ({"a": {"secret": KEY, "accounts": ["acc_1", 7]}}, "key a: accounts: number 2 is not an account id"),
        ({"a": {"secret": KEY, "accounts": [{"x": KEY}]}}, "key a: accounts: number 1 is not an account id"),
        ({"a": {"secret": KEY, "accounts": ["a" * 257]}}, "key a: accounts: number 1 is not an account id"),
    ],
)
def test_a_wrong_viewer_key_is_named_by_its_id(
    monkeypatch: pytest.MonkeyPatch, keys: object, message: str
) -> None:
    monkeypatch.setenv("AUDITLOG_API_VIEWER_KEYS", json.dumps(keys))
    with pytest.raises(ConfigError, match=f"^AUDITLOG_API_VIEWER_KEYS: {message}") as refused:
        ApiSettings.load()
    assert KEY not in str(refused.value)
    assert "short-secret" not in str(refused.value)


def test_a_viewer_key_may_be_limited_to_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    partner = {"secret": KEY + "x", "accounts": ["acc_1", "acc_2"]}
    given = {"main": KEY, "partner": partner, "x": {"secret": KEY}}
    monkeypatch.setenv("AUDITLOG_API_VIEWER_KEYS", json.dumps(given))
    settings = ApiSettings.load()
    found = {key_id: key.accounts for key_id, key in settings.viewer_keys.items()}
    assert found == {"main": None, "partner": frozenset({"acc_1", "acc_2"}), "x": None}
    assert KEY not in repr(settings)

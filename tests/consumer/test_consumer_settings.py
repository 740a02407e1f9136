"""The consumer's settings: read from the environment, and a wrong one is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from auditlog_consumer.settings import ConsumerSettings
from auditlog_schemas.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AUDITLOG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AUDITLOG_KAFKA", "localhost:9092")


def test_what_is_set_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLOG_TOPIC", "ours.events")
    monkeypatch.setenv("AUDITLOG_CATALOG", os.pathsep.join(["/a.toml", "/b.toml"]))
    monkeypatch.setenv("AUDITLOG_KAFKA_CONFIG", '{"security.protocol": "SSL"}')
    settings = ConsumerSettings.load()
    assert settings.dead_topic == "ours.events.dead"
    assert settings.catalog == (Path("/a.toml"), Path("/b.toml"))
    assert settings.kafka_config == {"security.protocol": "SSL"}


@pytest.mark.parametrize("name", ["CATALOG", "SCHEMAS", "KAFKA_CONFIG", "SCHEMA_REGISTRY_URL", "TOPIC"])
def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"AUDITLOG_{name}", "")
    assert ConsumerSettings.load() == ConsumerSettings(kafka="localhost:9092")


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("BATCH_ROWS_MAX", "many", "valid integer"),
        ("BATCH_ROWS_MAX", "0", "greater than or equal to 1"),
        ("TOPIC", "a b", "match pattern"),
        ("KAFKA_CONFIG", "{broken", "is not a JSON object"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, what: str) -> None:
    monkeypatch.setenv(f"AUDITLOG_{name}", value)
    with pytest.raises(ConfigError, match=f"^AUDITLOG_{name}: .*{what}"):
        ConsumerSettings.load()


def test_a_missing_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUDITLOG_KAFKA")
    with pytest.raises(ConfigError, match=r"^AUDITLOG_KAFKA: is not set"):
        ConsumerSettings.load()

"""The jars that run are the locked ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auditlog_local.kafka import kafka_child, remembered_node
from auditlog_local.kafka_broker import broker_answers
from auditlog_local.kafka_jars import (
    CACHE_DIR_VARIABLE,
    cache_directory,
    kafka_classpath,
    locked_jars,
    verify_jars,
)
from auditlog_local.ports import free_ports
from auditlog_schemas.errors import ConfigError


def test_every_jar_is_locked_by_its_hash() -> None:
    jars = locked_jars()
    assert "kafka-clients-4.4.0.jar" in jars
    assert "log4j-slf4j-impl-2.25.5.jar" in jars
    assert all(len(digest) == 64 for digest in jars.values())


def test_the_cache_may_be_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_DIR_VARIABLE, str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.delenv(CACHE_DIR_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "auditlog"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=CACHE_DIR_VARIABLE):
        kafka_classpath(tmp_path / "file" / "cache")


@pytest.mark.integration
def test_a_jar_that_differs_stops_the_launch(tmp_path: Path) -> None:
    source = Path(kafka_classpath().partition("/jars/*")[0])
    copy = tmp_path / "jars"
    shutil.copytree(source, copy)
    verify_jars(copy)
    jar = next(copy.glob("*/kafka-clients-*.jar"))
    content = jar.read_bytes()
    jar.unlink()
    with pytest.raises(ConfigError, match=r"kafka-clients-4\.4\.0\.jar is missing"):
        verify_jars(copy)
    jar.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ConfigError, match=r"kafka-clients-4\.4\.0\.jar has SHA-256"):
        verify_jars(copy)
    jar.write_bytes(content)
    (copy / "modules" / "evil-1.0.jar").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"evil-1\.0\.jar is not in jgo\.lock\.toml"):
        verify_jars(copy)


def test_a_node_keeps_its_identity_and_ports(tmp_path: Path) -> None:
    first = remembered_node(tmp_path)
    assert remembered_node(tmp_path) == first
    (port,) = free_ports(1)
    moved = remembered_node(tmp_path, port)
    assert (moved.cluster_id, moved.broker_port) == (first.cluster_id, port)
    (tmp_path / "node.json").write_text("{broken")
    with pytest.raises(ConfigError, match="cannot be used"):
        remembered_node(tmp_path)


@pytest.mark.integration
def test_a_directory_with_a_comma_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "a,b"
    with pytest.raises(ConfigError, match="comma"):
        kafka_child(directory, remembered_node(directory))


def test_nobody_answers_at_a_free_port() -> None:
    (port,) = free_ports(1)
    assert not broker_answers(f"127.0.0.1:{port}")
    assert not broker_answers("nonsense")

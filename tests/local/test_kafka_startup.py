"""Kafka starts with the JVM's cache of its classes, and without it where it cannot be made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from auditlog_local.kafka_jars import kafka_classpath
from auditlog_local.kafka_startup import kafka_java


@pytest.mark.integration
def test_the_jvm_takes_the_cache() -> None:
    """With AOTMode=on it refuses to start with a cache that does not fit."""
    java = kafka_java(kafka_classpath())
    [cache] = [flag for flag in java if flag.startswith("-XX:AOTCache=")]
    assert Path(cache.partition("=")[2]).stat().st_size > 1_000_000
    command = (java[0], "-XX:AOTMode=on", *java[1:], "kafka.tools.StorageTool", "random-uuid")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.strip()) == 22


def test_a_cache_that_cannot_be_made_only_takes_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    java = kafka_java("jars/*", tmp_path / "missing")
    assert java[-2:] == ("-cp", "jars/*")
    assert not [flag for flag in java if "AOT" in flag]
    assert "Kafka starts slowly" in caplog.text


def test_a_broker_that_does_not_start_leaves_no_cache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    java = kafka_java(str(tmp_path / "no-jars" / "*"), tmp_path)
    assert not [flag for flag in java if "AOT" in flag]
    assert "cannot be made" in caplog.text
    assert not list(tmp_path.glob("*.aot"))

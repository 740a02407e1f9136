"""Ctrl-C takes less than 10 s, and a consumer gets as long as it was told it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from auditlog_cli.local_pipeline import LocalPipeline
from auditlog_consumer.settings import ConsumerSettings
from auditlog_local.stack import CHILD_STOP_SECONDS, CLICKHOUSE_STOP_SECONDS, KAFKA_STOP_SECONDS


def test_everything_stops_within_ten_seconds() -> None:
    assert CHILD_STOP_SECONDS + CLICKHOUSE_STOP_SECONDS + KAFKA_STOP_SECONDS <= 9


def test_a_consumer_is_told_to_be_done_before_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDITLOG_STOP_SECONDS_MAX", "60")
    started: list[Mapping[str, str]] = []

    def add_child(name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        started.append(env)

    pipeline = LocalPipeline(
        tmp_path, partitions=1, consumers=2, notice=lambda *_: None, on_event=lambda _: None
    )
    monkeypatch.setattr(pipeline.stack, "start", lambda: None)
    monkeypatch.setattr(pipeline.stack, "add_child", add_child)
    monkeypatch.setattr(pipeline, "_prepare", lambda _: None)
    pipeline.__enter__()
    assert len(started) == 2
    for environment in started:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings = ConsumerSettings.load(kafka="k:9092")
        # It leaves the group in what remains.
        assert 1 <= settings.stop_seconds_max <= CHILD_STOP_SECONDS - 1

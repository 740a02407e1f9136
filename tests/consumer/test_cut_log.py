"""A log that was cut below what was read, and grew again: the broker tells by the epochs of its leaders."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditlog_consumer.fetch.fetcher import Fetcher
from auditlog_consumer.fetch.inbox import Polled
from auditlog_consumer.topics import Topics
from auditlog_local.child import Child
from auditlog_schemas.errors import TerminalError
from kit.record_batches import Record, record_batch, send
from kit.servers import own_kafka

pytestmark = pytest.mark.integration

SECONDS_MAX = 60.0


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[tuple[Child, str]]:
    with own_kafka(tmp_path) as started:
        yield started


def read(fetcher: Fetcher, until: int) -> Polled:
    """Return the poll that brought the message before an offset, or failed."""
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        fetcher.wait(0.1)
        polled = fetcher.take(1_000)
        if polled.failures or (0 in polled.messages and polled.messages[0].offsets[-1] == until - 1):
            return polled
    raise AssertionError("nothing came")


def test_a_position_of_another_log_fails_and_one_of_this_log_goes_on(kafka: tuple[Child, str]) -> None:
    broker, bootstrap = kafka
    Topics(bootstrap).ensure("events", "events.dead", 1)
    send(bootstrap, "events", 0, record_batch([Record(b"first leader")] * 3))
    fetcher = Fetcher(bootstrap, {}, "events", "test")
    fetcher.start(0, 0)
    read(fetcher, 3)
    first_epoch = fetcher._positions[0].epoch
    broker.kill()
    broker.start()
    broker.wait_ready()
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        try:
            send(bootstrap, "events", 0, record_batch([Record(b"second leader")] * 5))
            break
        except AssertionError:
            assert time.monotonic() < deadline, "the broker takes nothing"
            time.sleep(0.2)
    # The same log under another leader goes on.
    assert not read(fetcher, 8).failures
    position = fetcher._positions[0]
    assert position.epoch > first_epoch >= 0
    # As if the first leader had got to offset 6 before its log was cut at 3.
    fetcher.start(0, 6)
    fetcher._positions[0].epoch = first_epoch
    error = read(fetcher, 8).failures[0]
    assert isinstance(error, TerminalError)
    assert "events/0: Kafka's log was cut at offset 3, 6 was read" in str(error)
    fetcher.start(0, 6)
    assert not read(fetcher, 8).failures
    fetcher.close()

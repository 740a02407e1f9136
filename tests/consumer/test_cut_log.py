"""A log that was cut below what was read, and grew again: the broker tells by the epochs of its leaders."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditlog_consumer.fetch.batches import record_batches
from auditlog_consumer.fetch.fetcher import Fetcher
from auditlog_consumer.fetch.inbox import Polled
from auditlog_consumer.group import GroupMember
from auditlog_consumer.group_state import GroupObserver
from auditlog_consumer.topics import Topics
from auditlog_local.child import Child
from auditlog_schemas.errors import TerminalError
from kit.events import make_event
from kit.one_partition import ACCOUNT
from kit.pipeline import Pipeline
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


def publish(pipeline: Pipeline, count: int) -> None:
    """Publish events of one partition, each as a batch of its own."""
    for _ in range(count):
        pipeline.publish([make_event(account_id=ACCOUNT)])


def consume(pipeline: Pipeline) -> None:
    with pipeline.running():
        pipeline.wait_until_caught_up()


def restart(broker: Child) -> None:
    broker.kill()
    broker.start()
    broker.wait_ready()


def cut(broker: Child, directory: Path, batches: int) -> None:
    """Leave the first batches of the only partition that has any, as a disk that forgot the rest would."""
    broker.kill()
    [segment] = [path for path in directory.rglob("0*.log") if path.stat().st_size and "events-" in str(path)]
    whole = segment.read_bytes()
    kept = [batch.whole for batch in record_batches(memoryview(whole))][:batches]
    segment.write_bytes(b"".join(kept))
    for other in segment.parent.iterdir():
        if other.suffix in (".index", ".timeindex", ".snapshot"):
            other.unlink()
    broker.start()
    broker.wait_ready()


def trouble(pipeline: Pipeline) -> str:
    with GroupObserver(pipeline.settings) as observer:
        return "".join(each.trouble for each in observer.committed(range(8)).values())


@pytest.mark.parametrize("is_committed", [True, False], ids=["committed", "only announced"])
def test_a_log_that_was_cut_while_nobody_read_stops_its_partition(
    kafka: tuple[Child, str],
    tmp_path: Path,
    fresh_database: str,
    monkeypatch: pytest.MonkeyPatch,
    is_committed: bool,
) -> None:
    broker, bootstrap = kafka
    pipeline = Pipeline(bootstrap, fresh_database)
    publish(pipeline, 6)
    consume(pipeline)
    # Another leader of the same log is no reason to stop.
    restart(broker)
    publish(pipeline, 4)
    with monkeypatch.context() as patch:
        if not is_committed:
            patch.setattr(GroupMember, "commit", lambda *_: None)
        consume(pipeline)
    assert len(pipeline.stored_ids()) == 10
    cut(broker, tmp_path, 7)
    publish(pipeline, 6)
    with pipeline.running():
        deadline = time.monotonic() + SECONDS_MAX
        while "Kafka's log was cut at offset 7, 10 was read" not in trouble(pipeline):
            assert time.monotonic() < deadline, "the partition is not stopped"
            time.sleep(0.2)
    assert len(pipeline.stored_ids()) == 10
    # It stays so: what is asked of Kafka at the next start is the same.
    with pipeline.running():
        time.sleep(3)
        assert "Kafka's log was cut" in trouble(pipeline)
    assert len(pipeline.stored_ids()) == 10
    pipeline.report()
    pipeline.close()


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

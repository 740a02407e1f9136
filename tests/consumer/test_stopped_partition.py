"""What is terminal for one partition stops that one, loudly, and is tried again; the others go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from auditlog_consumer import metrics, stopped
from auditlog_consumer.batch import Batch
from auditlog_consumer.dead_letters import DeadLetterSink
from auditlog_consumer.group_state import Committed, GroupObserver
from auditlog_consumer.intent import Intent, trouble_of, with_trouble
from auditlog_consumer.judge import Judge, Judged, Rejection
from auditlog_consumer.partition import Partition
from auditlog_consumer.service import consume
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.stopped import PAUSE_SECONDS_MAX, Stopped, pause_seconds, stops_all
from auditlog_schemas.errors import (
    BrokerUnavailable,
    ConfigError,
    StorageRejected,
    TerminalError,
)
from auditlog_schemas.schema_ids import Answers
from auditlog_storage.ledger import Ledger, Range
from kit.events import make_event
from kit.one_partition import ACCOUNT, OnePartition
from kit.pipeline import Pipeline

needs_servers = pytest.mark.integration
SECONDS_MAX = 60.0


def until(happens: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not happens():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def is_told(seen: list[Committed], found: Committed) -> bool:
    """Tell whether a commit says why its partition is stopped, and keep it."""
    seen.append(found)
    return bool(found.trouble)


def alarms() -> float:
    return float(metrics.ALARMS.labels("partition_stopped")._value.get())


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopped, "PAUSE_SECONDS_MIN", 0.2)


@pytest.fixture
def pipeline(
    kafka_bootstrap: str, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pipeline]:
    """A pipeline in which recovery waits 2 s at most for an announced insert."""
    monkeypatch.setattr(ConsumerSettings, "insert_seconds_max", property(lambda _: 1.0))
    made = Pipeline(kafka_bootstrap, fresh_database, session_timeout_seconds=6.0)
    yield made
    made.close()


class Refusal:
    """Kafka refuses the letters of one partition for as long as `refused` holds it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refused: set[int], error: Exception) -> None:
        self.tries = 0
        write = DeadLetterSink.write

        def refusing(sink: DeadLetterSink, partition: Partition, rejected: list[Rejection]) -> None:
            if partition.number in refused:
                self.tries += 1
                raise error
            write(sink, partition, rejected)

        monkeypatch.setattr(DeadLetterSink, "write", refusing)


@needs_servers
@pytest.mark.parametrize(
    "error", [TerminalError("MSG_SIZE_TOO_LARGE"), ZeroDivisionError("nobody foresaw it"), MemoryError()]
)
def test_the_others_go_on_and_the_stopped_one_is_tried_again_until_it_is_mended(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    one, before = OnePartition(pipeline), alarms()
    number = one.partition.number
    refused = {number}
    refusal = Refusal(monkeypatch, refused, error)
    accounts = [f"acc_{each}" for each in range(40)]
    with pipeline.running():
        pipeline.publish_raw([(ACCOUNT.encode(), b"garbage")])
        until(lambda: refusal.tries >= 2, "it is not tried again")
        for _ in range(3):
            pipeline.publish([make_event(account_id=account) for account in accounts])
            pipeline.publish_raw([(account.encode(), b"garbage") for account in accounts])
        until(lambda: not pipeline.lagging() - {number}, "the others do not go on")
        assert pipeline.lagging() == {number}
        assert alarms() >= before + 2
        with GroupObserver(pipeline.settings) as observer:
            # While it is tried again, nothing is told for a moment.
            seen = [observer.committed([number])[number]]
            until(lambda: is_told(seen, observer.committed([number])[number]), "nobody is told why")
            assert str(error) in seen[-1].trouble
            assert seen[-1].intent is not None, "what was announced is not to be lost"
            assert seen[-1].intent.first == 0
        refused.clear()
        pipeline.wait_until_caught_up()
        with GroupObserver(pipeline.settings) as observer:
            until(lambda: not observer.committed([number])[number].trouble, "it is still told")
    report = pipeline.check()
    assert (report.accepted, report.rejected) == (120, 121)


@needs_servers
def test_rows_that_contradict_kafka_stop_their_partition_only(pipeline: Pipeline) -> None:
    one = OnePartition(pipeline)
    pipeline.publish([make_event(account_id=ACCOUNT) for _ in range(3)])
    rows = one.rows(0, 2)
    at = rows.schema.get_field_index("event_id")
    one.insert(rows.set_column(at, rows.schema.field(at), rows.column("event_id").take([1, 2, 0])), "strange")
    before = alarms()
    with pipeline.running():
        until(lambda: alarms() > before, "no alarm")
        pipeline.publish([make_event(account_id=f"acc_{each}") for each in range(40)])
        until(lambda: pipeline.lagging() == {one.partition.number}, "the others do not go on")
        pipeline.connection.command(
            "ALTER TABLE audit_events DELETE WHERE kafka_offset < 3 SETTINGS mutations_sync = 2"
        )
        pipeline.wait_until_caught_up()
    pipeline.report()
    assert one.stored()[:3] == [0, 1, 2]


@needs_servers
def test_a_log_that_ends_before_the_ledger_stops_its_partition_only(pipeline: Pipeline) -> None:
    topic_id = OnePartition(pipeline).partition.topic_id
    Ledger(pipeline.connection).append(
        Range(
            topic=pipeline.topic,
            topic_id=topic_id,
            kafka_partition=2,
            first_offset=0,
            last_offset=99,
            accepted=100,
            rejected=0,
            duplicates=0,
            absent=0,
            consumer_group=pipeline.settings.group,
            recorded_at=datetime.now(UTC),
        )
    )
    with pipeline.running(), GroupObserver(pipeline.settings) as observer:

        def trouble() -> str:
            found = observer.committed([2])
            return found[2].trouble if 2 in found else ""

        until(lambda: "Kafka's log ends at offset 0, 100 was recorded" in trouble(), "it is not told")
        pipeline.publish([make_event(account_id=f"acc_{each}") for each in range(40)])
        until(lambda: not pipeline.lagging() - {2}, "the others do not go on")
    pipeline.report()


@needs_servers
@pytest.mark.parametrize("last", [ConfigError("no rights"), StorageRejected("no such table", 60)])
def test_what_is_wrong_for_all_ends_the_consumer(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, last: TerminalError
) -> None:
    Refusal(monkeypatch, set(range(8)), last)
    pipeline.publish_raw([(b"acc_1", b"garbage")])
    with pytest.raises(type(last)):
        consume(pipeline.settings, pipeline.connection, threading.Event())


@needs_servers
def test_an_error_of_the_judge_stops_its_partition_only(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, broken, judge_part = OnePartition(pipeline), [True], Judge.judge_part

    def judging(self: Judge, batch: Batch, answers: Answers) -> Judged:
        if broken[0] and batch.partition.number == one.partition.number:
            raise IndexError("a decoder that fails on these bytes")
        return judge_part(self, batch, answers)

    monkeypatch.setattr(Judge, "judge_part", judging)
    before = alarms()
    with pipeline.running():
        pipeline.publish([make_event(account_id=f"acc_{each}") for each in range(40)])
        until(lambda: pipeline.lagging() == {one.partition.number}, "the others do not go on")
        until(lambda: alarms() >= before + 2, "it is not tried again")
        broken[0] = False
        pipeline.wait_until_caught_up()
    assert pipeline.check().accepted == 40


@pytest.mark.parametrize(
    ("error", "of_all"),
    [
        (ConfigError("x"), True),
        (StorageRejected("no column", 16), True),
        (StorageRejected("older", 115), True),
        (StorageRejected("a row breaks a constraint", 469), False),
        (TerminalError("x"), False),
        (BrokerUnavailable("x"), False),
        (KeyError("x"), False),
        (MemoryError(), False),
        (KeyboardInterrupt(), True),
    ],
)
def test_what_is_of_all_and_what_of_one(error: BaseException, of_all: bool) -> None:
    assert stops_all(error) == of_all


def test_pauses_grow_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pauses = [pause_seconds(failures) for failures in range(1, 12)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[1], pauses[-1]) == (2.0, 4.0, PAUSE_SECONDS_MAX)
    assert pause_seconds(10_000) == PAUSE_SECONDS_MAX
    assert Stopped(TerminalError("x"), 5.0, ()).is_over(5.0)
    assert not Stopped(TerminalError("x"), 5.0, ()).is_over(4.9)


def test_a_trouble_beside_an_intent_leaves_the_intent_as_it_is() -> None:
    intent = Intent(UUID(int=7), 3, 9, 1_000, 1_700_000_000_000)
    told = with_trouble(intent.to_metadata(), "refused\n" + "ä" * 2_000)
    assert Intent.from_metadata(told) == intent
    assert trouble_of(told).startswith("refused\nää")
    assert len(told.encode()) < 4_000
    # Told again it does not grow, and what others wrote is not kept.
    assert with_trouble(told, "again") == with_trouble(intent.to_metadata(), "again")
    for metadata in ("", "{}", "[]", "nonsense", '{"trouble":7}', "[" * 100_000):
        assert trouble_of(metadata) == ""
        assert trouble_of(with_trouble(metadata, "\x00" * 2_000)) == "\x00" * 500
        assert len(with_trouble(metadata, "\x00" * 2_000).encode()) < 4_000

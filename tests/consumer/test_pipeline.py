"""The whole line on real Kafka and the real engine: published is stored or dead-lettered, and recorded."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from auditlog_consumer import topics
from auditlog_consumer.acknowledged import AcknowledgedWriter, Headers, Outgoing
from auditlog_consumer.check import check
from auditlog_consumer.dead_letter_log import DeadLetterLog
from auditlog_consumer.fetch import fetcher
from auditlog_consumer.judge import Verdicts
from auditlog_consumer.partition import Epoch
from auditlog_consumer.service import build_judge, consume
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.start import Start
from auditlog_consumer.store import BatchStore
from auditlog_consumer.topic_reader import read_between
from auditlog_consumer.topics import Topics
from auditlog_local.ports import free_ports
from auditlog_schemas.codec import encode
from auditlog_schemas.errors import ConfigError, TerminalError
from auditlog_storage.ledger import Ledger, Range
from kit.bad_messages import bad_messages
from kit.events import make_event, make_record
from kit.pipeline import Pipeline

pytestmark = [pytest.mark.integration, pytest.mark.long]


def test_good_and_bad_messages_are_all_accounted_for(pipeline: Pipeline) -> None:
    events = [make_event(account_id=f"acc_{i % 5}") for i in range(500)]
    bad = bad_messages()
    pipeline.publish(events[:250])
    pipeline.publish_raw([(b"acc_1", message.value) for message in bad])
    with pipeline.running():
        pipeline.publish(events[250:])
        pipeline.wait_until_caught_up()
    assert sorted(pipeline.stored_ids()) == sorted(event.event_id for event in events)
    letters = pipeline.dead_letters()
    assert sorted(letter.rule for letter in letters) == sorted(message.rule for message in bad)
    assert sorted(letter.reason for letter in letters) == sorted(message.reason for message in bad)
    assert {letter.body for letter in letters} == {message.value for message in bad}
    assert {letter.source_key for letter in letters} == {b"acc_1"}
    assert all(letter.catalog_version and not letter.replayed for letter in letters)
    report = pipeline.check()
    assert (report.accepted, report.rejected) == (500, len(bad))


def test_a_restart_goes_on_where_the_ledger_ends(pipeline: Pipeline) -> None:
    events = [make_event(account_id=f"acc_{i % 5}") for i in range(100)]
    for part in (events[:40], events[40:]):
        pipeline.publish(part)
        with pipeline.running():
            pipeline.wait_until_caught_up()
    assert sorted(pipeline.stored_ids()) == sorted(event.event_id for event in events)
    pipeline.check()


def test_rows_stored_without_a_ledger_row_are_not_stored_again(pipeline: Pipeline) -> None:
    """As after a crash between insert and ledger; the next batch has other bounds than the first one."""
    events = [make_event() for _ in range(30)]
    pipeline.publish(events[:20])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    pipeline.connection.command("TRUNCATE TABLE audit_ranges")
    pipeline.publish(events[20:])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert sorted(pipeline.stored_ids()) == sorted(event.event_id for event in events)
    assert pipeline.check().accepted == 30


def test_two_consumers_share_the_partitions(pipeline: Pipeline) -> None:
    events = [make_event(account_id=f"acc_{i}") for i in range(300)]
    with pipeline.running():
        pipeline.publish(events[:100])
        with pipeline.running():
            pipeline.publish(events[100:200])
            pipeline.wait_until_caught_up()
        pipeline.publish(events[200:])
        pipeline.wait_until_caught_up()
    assert sorted(pipeline.stored_ids()) == sorted(event.event_id for event in events)
    pipeline.check()


def test_replay_publishes_what_the_catalog_accepts_now(pipeline: Pipeline, tmp_path: Path) -> None:
    eaten = make_record(action="license_eaten")
    pipeline.publish_raw([(b"acc_1", encode(eaten)), (b"acc_1", b"garbage")])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert pipeline.stored_ids() == []
    catalog = tmp_path / "more.toml"
    catalog.write_text(EATEN)
    extended = pipeline.settings.model_copy(update={"catalog": (catalog,)})
    pipeline.settings = extended
    log = DeadLetterLog(extended)
    judge = build_judge(extended)
    first = log.replay(log.read(), judge)
    assert (first.replayed, first.still_rejected, first.already_replayed) == (1, 1, 0)
    second = log.replay(log.read(), judge)
    assert (second.replayed, second.still_rejected, second.already_replayed) == (0, 1, 1)
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert [str(stored) for stored in pipeline.stored_ids()] == [eaten["event_id"]]
    assert {letter.rule: letter.replayed for letter in pipeline.dead_letters()} == {
        "unknown_action": True,
        "unknown_framing": False,
    }
    pipeline.check()


def test_the_check_finds_what_is_missing_or_double(pipeline: Pipeline) -> None:
    pipeline.publish([make_event() for _ in range(10)])
    pipeline.publish_raw([(b"acc_1", b"garbage")])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    pipeline.check()
    run = pipeline.connection.command
    run("INSERT INTO audit_events SELECT * FROM audit_events WHERE kafka_offset = 3")
    run("DELETE FROM audit_events WHERE kafka_offset = 5")
    report = check(pipeline.connection, pipeline.settings)
    assert not report.ok
    assert {(found.first_offset, found.message) for found in report.findings if "times" in found.message} == {
        (3, "stored 2 times")
    }
    assert any("9 offsets are stored, the ledger says 10" in found.message for found in report.findings)


def test_the_check_finds_gaps_and_missing_letters(pipeline: Pipeline) -> None:
    topic_id = Topics(pipeline.settings.kafka).describe(pipeline.topic).topic_id
    ledger = Ledger(pipeline.connection)
    for first in (0, 10):
        ledger.append(
            Range(
                topic=pipeline.topic,
                topic_id=topic_id,
                kafka_partition=0,
                first_offset=first,
                last_offset=first + 4,
                accepted=0,
                rejected=5,
                duplicates=0,
                absent=0,
                consumer_group="g",
                recorded_at=datetime.now(UTC),
            )
        )
    messages = [found.message for found in check(pipeline.connection, pipeline.settings).findings]
    assert "no range of the ledger covers these offsets" in messages
    assert messages.count("0 dead letters are there, the ledger says 5") == 2


def delete_records_before(pipeline: Pipeline, offset: int) -> None:
    """Do to the one partition that is used what retention does in time."""
    [number] = {row[0] for row in pipeline.connection.query_rows("SELECT kafka_partition FROM audit_events")}
    admin = AdminClient({"bootstrap.servers": pipeline.settings.kafka})
    for future in admin.delete_records([TopicPartition(pipeline.topic, number, offset)]).values():
        future.result(60)


def test_retention_that_overtakes_a_stopped_consumer_is_recorded_as_lost(pipeline: Pipeline) -> None:
    pipeline.publish([make_event() for _ in range(10)])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    pipeline.publish([make_event() for _ in range(10)])
    delete_records_before(pipeline, 15)
    with pipeline.running():
        pipeline.wait_until_caught_up()
    report = check(pipeline.connection, pipeline.settings)
    assert (report.accepted, report.lost) == (15, 5)
    [finding] = report.findings
    assert (finding.first_offset, finding.last_offset) == (10, 14)
    assert finding.message.startswith("lost")


def test_retention_that_overtakes_a_running_consumer_is_recorded_as_lost(
    kafka_bootstrap: str, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(kafka_bootstrap, fresh_database, buffered_bytes_max=1024)
    pipeline.publish([make_event() for _ in range(10)])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    stalled, storing, store = threading.Event(), threading.Event(), BatchStore.store

    def stall(self: BatchStore, verdicts: Verdicts, epoch: Epoch, start: Start) -> Range:
        storing.set()
        assert stalled.wait(120)
        return store(self, verdicts, epoch, start)

    monkeypatch.setattr(BatchStore, "store", stall)
    monkeypatch.setattr(fetcher, "QUEUED_BYTES_MAX", 1)
    with pipeline.running():
        pipeline.publish([make_event() for _ in range(10)])
        assert storing.wait(120)
        # The memory is in use now: what is fetched waits, and nothing more is.
        pipeline.publish([make_event() for _ in range(10)])
        time.sleep(0.5)
        pipeline.publish([make_event() for _ in range(10)])
        delete_records_before(pipeline, 35)
        stalled.set()
        pipeline.wait_until_caught_up()
    report = check(pipeline.connection, pipeline.settings)
    assert report.accepted + report.lost == 40
    assert report.lost == 5
    pipeline.close()


def test_a_topic_with_the_producers_clock_is_refused(kafka_bootstrap: str, pipeline: Pipeline) -> None:
    name = f"{pipeline.topic}-create-time"
    topic = NewTopic(name, num_partitions=1, config={"message.timestamp.type": "CreateTime"})
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([topic])[name].result(60)
    Topics(kafka_bootstrap).ensure(name, f"{name}.dead")
    settings = ConsumerSettings.load(kafka=kafka_bootstrap, topic=name)
    with pytest.raises(ConfigError, match="CreateTime"):
        consume(settings, pipeline.connection, threading.Event())


EATEN = (
    '[actions.license_eaten]\ngroup = "Licenses"\nentity_type = "license"\nkind = "deleted"\n'
    'sentence = "{actor} ate license {entity}"\n'
)


def test_rules_that_became_stricter_before_the_range_was_recorded(pipeline: Pipeline, tmp_path: Path) -> None:
    """The row was stored under a longer catalog; it stays, and it is no contradiction."""
    catalog, strict = tmp_path / "more.toml", pipeline.settings
    catalog.write_text(EATEN)
    pipeline.publish_raw([(b"acc_1", encode(make_record(action="license_eaten"))), (b"acc_1", b"garbage")])
    pipeline.settings = strict.model_copy(update={"catalog": (catalog,)})
    with pipeline.running():
        pipeline.wait_until_caught_up()
    pipeline.connection.command("TRUNCATE TABLE audit_ranges")
    pipeline.settings = strict
    with pipeline.running():
        pipeline.wait_until_caught_up()
    report = pipeline.check()
    assert (report.accepted, report.rejected) == (1, 1)


def test_rules_that_became_looser_before_the_range_was_recorded(pipeline: Pipeline, tmp_path: Path) -> None:
    """The message was dead-lettered under a shorter catalog; its letter stays, and the check understands."""
    catalog = tmp_path / "more.toml"
    catalog.write_text(EATEN)
    pipeline.publish_raw([(b"acc_1", encode(make_record(action="license_eaten")))])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    pipeline.connection.command("TRUNCATE TABLE audit_ranges")
    pipeline.settings = pipeline.settings.model_copy(update={"catalog": (catalog,)})
    with pipeline.running():
        pipeline.wait_until_caught_up()
    report = pipeline.check()
    assert (report.accepted, report.rejected) == (1, 0)


def make_again(pipeline: Pipeline) -> None:
    """Delete the topic, make it again, and wait for the consumer to notice."""
    admin = AdminClient({"bootstrap.servers": pipeline.settings.kafka})
    topics = Topics(pipeline.settings.kafka)
    admin.delete_topics([pipeline.topic])[pipeline.topic].result(60)
    while topics.find(pipeline.topic) is not None:
        time.sleep(0.1)
    time.sleep(1)
    topics.ensure(pipeline.topic, pipeline.settings.dead_topic)
    pipeline.publish([make_event() for _ in range(30)])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pipeline.raise_failure()
        time.sleep(0.1)


def test_a_topic_made_again_under_a_running_consumer_stops_it(pipeline: Pipeline) -> None:
    pipeline.publish([make_event() for _ in range(10)])
    with pipeline.running():
        pipeline.wait_until_caught_up()
        with pytest.raises(TerminalError, match="was deleted and made again"):
            make_again(pipeline)


def test_kafka_away_at_the_start_is_waited_for(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setattr(topics, "REQUEST_SECONDS_MAX", 1.0)
    away, stop = pipeline.settings.model_copy(update={"kafka": f"127.0.0.1:{port}"}), threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            consume(away, pipeline.connection, stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(4)
    assert thread.is_alive(), failures
    stop.set()
    thread.join(120)
    assert not thread.is_alive()
    assert failures == []


def test_a_hostile_dead_letter_is_shown_and_does_not_disturb(pipeline: Pipeline) -> None:
    writer = AcknowledgedWriter(pipeline.settings.kafka)
    headers: Headers = [("source_timestamp", b"99999999999999999999"), ("source_topic_id", b"no uuid")]
    writer.write(pipeline.settings.dead_topic, [Outgoing(b"k", b"x", headers), Outgoing(None, None)])
    writer.close()
    assert len(pipeline.dead_letters()) == 2
    assert check(pipeline.connection, pipeline.settings).ok


def keys_in(pipeline: Pipeline, topic: str) -> list[bytes | None]:
    topics = Topics(pipeline.settings.kafka, pipeline.settings.kafka_config)
    spans = {number: topics.ends(topic, number) for number in range(topics.describe(topic).partitions)}
    found = read_between(pipeline.settings, topic, spans)
    return [message.key() for messages in found for message in messages]


@pytest.mark.parametrize("key", [b"topic/0/7", b"no \xff text", None])
def test_a_forged_letter_chooses_neither_topic_nor_key_of_its_replay(
    pipeline: Pipeline, key: bytes | None
) -> None:
    settings, record = pipeline.settings, make_record(account_id="acc_1")
    theirs = f"{pipeline.topic}-theirs"
    Topics(settings.kafka, settings.kafka_config).ensure(theirs, f"{theirs}.dead")
    forged: Headers = [
        ("rule", b"unknown_action"),
        ("source_topic", theirs.encode()),
        ("source_partition", b"9223372036854775807"),
        ("source_key", b"acc_2"),
        ("partition", b"3"),
    ]
    writer = AcknowledgedWriter(settings.kafka)
    writer.write(settings.dead_topic, [Outgoing(key, encode(record), forged)])
    writer.close()
    log, judge = DeadLetterLog(settings), build_judge(settings)
    assert log.replay(log.read(), judge).replayed == 1
    assert log.replay(log.read(), judge).already_replayed == 1
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert [str(stored) for stored in pipeline.stored_ids()] == [record["event_id"]]
    assert keys_in(pipeline, settings.topic) == [b"acc_1"]
    assert keys_in(pipeline, theirs) == []

"""Settings of the topics by which messages are lost: refused or warned of, at the start and later."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import structlog

from auditlog_consumer import metrics, topic_watch
from auditlog_consumer.identity import TopicIdentity
from auditlog_consumer.topic_rules import TopicFault, faults_of_events, faults_of_letters
from auditlog_consumer.topic_watch import TopicWatch
from auditlog_consumer.topics import TopicInfo, Topics
from auditlog_schemas.errors import BrokerUnavailable, ConfigError
from kit.events import make_event
from kit.pipeline import Pipeline
from kit.topic_settings import alter
from kit.transactions import Transactions

GOOD = TopicInfo("events", UUID(int=1), 8, "LogAppendTime", -1, 1_000_000)
SECONDS_MAX = 60.0


def settings_of(faults: Any) -> list[tuple[str, bool]]:
    return [(fault.setting, fault.is_refused) for fault in faults]


@pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete,compact", "", "delete,other"])
def test_any_policy_but_deleting_is_refused(policy: str) -> None:
    topic = replace(GOOD, cleanup_policy=policy)
    assert settings_of(faults_of_events(topic)) == [("cleanup.policy", True)]
    assert settings_of(faults_of_letters(topic)) == [("cleanup.policy", True)]


@pytest.mark.parametrize("policy", ["delete", "delete,delete", " delete"])
def test_deleting_alone_is_taken(policy: str) -> None:
    topic = replace(GOOD, cleanup_policy=policy)
    assert not [*faults_of_events(topic), *faults_of_letters(topic)]


def test_deletion_by_size_and_unclean_elections_are_warned_of() -> None:
    risky = replace(GOOD, retention_bytes=1 << 30, unclean_election=True)
    expected = [("retention.bytes", False), ("unclean.leader.election.enable", False)]
    assert settings_of(faults_of_events(risky)) == settings_of(faults_of_letters(risky)) == expected
    [by_size, _] = faults_of_events(risky)
    assert "1,073,741,824 bytes" in by_size.found
    assert by_size.cure.endswith("--alter --topic events --add-config retention.bytes=-1")


def test_letters_must_fit_and_stay() -> None:
    short = replace(GOOD, retention_millis=7_200_000, message_bytes_max=1_000)
    found = list(faults_of_letters(short))
    assert settings_of(found) == [("max.message.bytes", True), ("retention.ms", False)]
    assert "after 2.0 h" in found[1].found
    assert not list(faults_of_events(short))


class Described:
    """Topics as a test says."""

    def __init__(self) -> None:
        self.events = self.letters = GOOD
        self.away = False
        self.asked = 0

    def find(self, topic: str) -> TopicInfo | None:
        self.asked += 1
        if self.away:
            raise BrokerUnavailable("away")
        return self.events if topic == "events" else replace(self.letters, name="letters")

    def identify(self, _topic: str) -> UUID | None:
        return GOOD.topic_id


@pytest.fixture(autouse=True)
def _nothing_shown_yet() -> None:
    """What other tests of this process left does not count."""
    metrics.TOPIC_FAULTS.clear()


def shown() -> set[tuple[str, str]]:
    [family] = metrics.TOPIC_FAULTS.collect()
    return {(each.labels["topic"], each.labels["setting"]) for each in family.samples}


def test_a_fault_is_said_once_and_shown_until_it_is_mended() -> None:
    topics = Described()
    watch = TopicWatch(topics, "events", "letters")
    topics.letters = replace(GOOD, retention_bytes=5)
    with structlog.testing.capture_logs() as logs:
        watch.look()
        watch.look()
    assert [line["topic"] for line in logs] == ["letters"]
    assert shown() == {("letters", "retention.bytes")}
    topics.letters = replace(GOOD, retention_bytes=6)
    with structlog.testing.capture_logs() as logs:
        watch.look()
    assert len(logs) == 1
    topics.letters = GOOD
    watch.look()
    assert shown() == set()


def test_gaps_count_as_absent_only_after_a_look_behind_the_reading() -> None:
    topics, now = Described(), 10.0
    watch = TopicWatch(topics, "events", "letters")
    identity = TopicIdentity(topics, "events", GOOD.topic_id, lambda: now, watch.look)
    identity.confirm_gaps(9.0)
    identity.confirm_gaps(10.0)
    assert topics.asked == 2
    topics.events = replace(GOOD, cleanup_policy="compact")
    identity.confirm_gaps(8.0)
    topics.away = True
    with pytest.raises(BrokerUnavailable):
        identity.confirm_gaps(10.5)
    topics.away = False
    with pytest.raises(ConfigError, match="cleanup"):
        identity.confirm_gaps(10.5)


def test_a_look_that_fails_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_watch, "LOOK_SECONDS", 0.01)
    topics, stop = Described(), threading.Event()
    topics.away = True
    watch = TopicWatch(topics, "events", "letters")

    def become_compacted() -> None:
        with watch.watching(stop):
            wait_until(lambda: topics.asked > 5)
            assert not stop.is_set()
            topics.letters = replace(GOOD, cleanup_policy="compact")
            topics.away = False
            assert stop.wait(SECONDS_MAX)

    with pytest.raises(ConfigError, match="topic letters has cleanup"):
        become_compacted()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def dead(pipeline: Pipeline) -> str:
    return pipeline.settings.dead_topic


@pytest.mark.integration
def test_topics_are_made_as_they_have_to_be(pipeline: Pipeline) -> None:
    topics = Topics(pipeline.settings.kafka)
    for name, faults in ((pipeline.topic, faults_of_events), (dead(pipeline), faults_of_letters)):
        found = topics.describe(name)
        assert (found.cleanup_policy, found.unclean_election) == ("delete", False)
        assert not list(faults(found))


@pytest.mark.integration
@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
@pytest.mark.parametrize("of", [lambda pipeline: pipeline.topic, dead], ids=["events", "letters"])
def test_a_consumer_refuses_to_start_on_a_compacted_topic(
    pipeline: Pipeline, policy: str, of: Callable[[Pipeline], str]
) -> None:
    alter(pipeline, of(pipeline), "cleanup.policy", policy)
    pipeline.publish([make_event()])
    with pytest.raises(ConfigError, match="cleanup") as caught, pipeline.running():
        time.sleep(5)
    assert f"--topic {of(pipeline)} --add-config cleanup.policy=delete`" in str(caught.value)
    assert pipeline.stored_ids() == []
    alter(pipeline, of(pipeline), "cleanup.policy", "delete")
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert pipeline.check().accepted == 1


@pytest.mark.integration
@pytest.mark.parametrize("of", [lambda pipeline: pipeline.topic, dead], ids=["events", "letters"])
def test_a_topic_that_becomes_compacted_ends_the_consumer(
    pipeline: Pipeline, of: Callable[[Pipeline], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while nothing is published."""
    monkeypatch.setattr(topic_watch, "LOOK_SECONDS", 0.2)
    pipeline.publish([make_event()])

    def become_compacted() -> None:
        with pipeline.running() as stop:
            pipeline.wait_until_caught_up()
            alter(pipeline, of(pipeline), "cleanup.policy", "compact")
            assert stop.wait(SECONDS_MAX)

    with pytest.raises(ConfigError, match="cleanup"):
        become_compacted()
    alter(pipeline, of(pipeline), "cleanup.policy", "delete")
    pipeline.publish([make_event()])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert pipeline.check().accepted == 2


@pytest.mark.integration
def test_offsets_without_a_message_are_not_recorded_once_a_topic_is_compacted(pipeline: Pipeline) -> None:
    """Nobody looks in between: the batch with the gap does it."""
    producer = Transactions(pipeline)

    def consume() -> None:
        with pipeline.running():
            producer.publish([make_event()])
            pipeline.wait_until_caught_up()
            alter(pipeline, pipeline.topic, "cleanup.policy", "compact")
            pipeline.publish([make_event()])
            pipeline.wait_until_caught_up()
            assert pipeline.report().accepted == 2
            producer.publish([make_event()], ends="abort")
            deadline = time.monotonic() + SECONDS_MAX
            while time.monotonic() < deadline:
                pipeline.raise_failure()
                time.sleep(0.1)

    with pytest.raises(ConfigError, match="cleanup"):
        consume()
    report = pipeline.report()
    assert (report.accepted, report.absent) == (2, 1)
    alter(pipeline, pipeline.topic, "cleanup.policy", "delete")
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert pipeline.report().absent == 3


@pytest.mark.integration
def test_risky_settings_are_warned_of_and_not_in_the_way(pipeline: Pipeline) -> None:
    alter(pipeline, pipeline.topic, "retention.bytes", "1000000")
    alter(pipeline, dead(pipeline), "unclean.leader.election.enable", "true")
    with structlog.testing.capture_logs() as logs, pipeline.running():
        pipeline.publish([make_event()])
        pipeline.wait_until_caught_up()
        expected = {(pipeline.topic, "retention.bytes"), (dead(pipeline), "unclean.leader.election.enable")}
        assert expected <= shown()
    warned = [line for line in logs if line["event"].startswith("messages may be lost by a setting")]
    assert {line["topic"] for line in warned} == {pipeline.topic, dead(pipeline)}
    alter(pipeline, pipeline.topic, "retention.bytes", "-1")
    alter(pipeline, dead(pipeline), "unclean.leader.election.enable", "false")


def test_a_fault_names_topic_setting_reason_and_command() -> None:
    fault = TopicFault("events", "a.b", "1", "it is so", "2", is_refused=True)
    assert str(fault) == (
        "topic events has a.b=1: it is so; run `kafka-configs.sh --bootstrap-server HOST:PORT --alter "
        "--topic events --add-config a.b=2`"
    )

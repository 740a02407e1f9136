"""Kafka: does it answer, are the topics as the consumer needs them, can dead letters be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from auditlog_cli.doctor.diagnosis import Diagnosis
from auditlog_schemas.errors import ConfigError

if TYPE_CHECKING:
    from auditlog_consumer.settings import ConsumerSettings
    from auditlog_consumer.topic_rules import TopicFault
    from auditlog_consumer.topics import TopicInfo

BUCKETS: Final = 8


def diagnose_kafka(settings: ConsumerSettings) -> Iterator[Diagnosis]:
    """Look at Kafka and both topics.

    Raises:
        AuditError: Kafka does not answer, or refuses.
    """
    from auditlog_consumer.fetch.bootstrap import require_entry
    from auditlog_consumer.topic_rules import faults_of_events, faults_of_letters
    from auditlog_consumer.topics import Topics

    require_entry(settings.kafka, settings.kafka_config)
    topics = Topics(settings.kafka, settings.kafka_config)
    try:
        events = topics.describe(settings.topic)
    except ConfigError as error:
        yield Diagnosis("kafka", "ok", settings.kafka)
        yield Diagnosis("topic", "wrong", str(error), "start a consumer: `auditlog consume`")
        return
    yield Diagnosis("kafka", "ok", settings.kafka)
    yield _events(settings, events)
    yield from _faults(faults_of_events(events))
    try:
        dead = topics.describe(settings.dead_topic)
    except ConfigError as error:
        yield Diagnosis("dead letters", "wrong", str(error), "start a consumer: `auditlog consume`")
        return
    yield _dead_letters(settings, dead)
    yield from _faults(faults_of_letters(dead))


def _faults(faults: Iterator[TopicFault]) -> Iterator[Diagnosis]:
    for fault in faults:
        yield Diagnosis(
            "topic setting", "wrong" if fault.is_refused else "note", fault.found, f"run `{fault.cure}`"
        )


def _events(settings: ConsumerSettings, topic: TopicInfo) -> Diagnosis:
    from auditlog_consumer.topic_health import topic_health

    found = f"{topic.name}, {topic.partitions} partitions, {topic.timestamp_type}"
    health = topic_health(settings.kafka, settings.kafka_config, topic.name)
    if health.without_leader:
        return Diagnosis("topic", "wrong", f"{found}; {_no_leader(health.without_leader)}", _BROKERS)
    if not health.may_read:
        return Diagnosis(
            "topic", "wrong", f"{found}; this user may not read it", f"allow READ on {topic.name}"
        )
    if topic.partitions % BUCKETS:
        hint = f"a multiple of {BUCKETS} partitions makes inserts cheaper; this works too"
        return Diagnosis("topic", "note", found, hint)
    return Diagnosis("topic", "ok", found)


def _dead_letters(settings: ConsumerSettings, dead: TopicInfo) -> Diagnosis:
    from auditlog_consumer.topic_health import topic_health

    name, found = "dead letters", f"{dead.name}, {dead.partitions} partitions"
    health = topic_health(settings.kafka, settings.kafka_config, dead.name)
    if health.without_leader:
        return Diagnosis(name, "wrong", f"{found}; {_no_leader(health.without_leader)}", _BROKERS)
    if health.short_of_replicas:
        short = f"partitions {listed(health.short_of_replicas)} have too few replicas in sync to be written"
        return Diagnosis(name, "wrong", f"{found}; {short}", _BROKERS)
    if not health.may_write:
        hint = f"allow WRITE on {dead.name}: a consumer waits at the first message that breaks a rule"
        return Diagnosis(name, "wrong", f"{found}; this user may not write it", hint)
    return Diagnosis(name, "ok", f"{found}, can be written")


def listed(numbers: Sequence[int]) -> str:
    """Return numbers as people write them: 0-3, 5."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if run[-1] != run[0] else str(run[0]) for run in runs)


def _no_leader(partitions: Sequence[int]) -> str:
    return f"no broker serves partitions {listed(partitions)}"


_BROKERS: Final = "bring the brokers back that have these partitions"

"""Each kind of finding, on a log that was made wrong in exactly that way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from auditlog_schemas.codec import encode
from auditlog_schemas.event import Source
from kit.events import make_event, make_record
from kit.made_log import MadeLog

pytestmark = pytest.mark.integration


@pytest.fixture
def log(kafka_bootstrap: str, fresh_database: str) -> Iterator[MadeLog]:
    made = MadeLog(kafka_bootstrap, fresh_database)
    yield made
    made.close()


def publish_some(log: MadeLog, count: int = 10) -> None:
    log.publish(*(make_event(account_id=f"acc_{number % 3}") for number in range(count)))


def test_a_log_that_adds_up_has_no_finding(log: MadeLog) -> None:
    publish_some(log)
    log.publish_raw(b"garbage", None)
    log.store(0, 4)
    log.store(5, 11)
    report = log.check()
    assert (report.findings, report.ok) == ([], True)
    assert (report.ranges, report.accepted, report.rejected) == (2, 10, 2)


def test_missing_rows(log: MadeLog) -> None:
    publish_some(log)
    log.store(0, 4)
    log.store(5, 9, missing=[6, 8])
    report = log.check()
    [finding] = report.findings
    assert (finding.kind, finding.first_offset, finding.last_offset) == ("missing_rows", 5, 9)
    assert finding.message == "3 offsets are stored, the ledger says 5"
    assert finding.topic_id == str(log.partition.topic_id)
    assert not report.ok


def test_rows_where_the_ledger_has_none(log: MadeLog) -> None:
    publish_some(log)
    log.store(0, 9)
    log.run(
        "INSERT INTO audit_events SELECT * REPLACE (12 AS kafka_offset) FROM audit_events LIMIT 1",
        insert_deduplicate=0,
    )
    log.publish_raw(b"garbage", b"garbage", b"garbage")
    log.store(10, 12)
    assert log.findings(warnings=False) == [("surplus_rows", 10, 12)]


def test_rows_stored_twice(log: MadeLog) -> None:
    publish_some(log, 40)
    log.store(0, 39)
    log.copy("kafka_offset IN (3, 4, 5, 9)")
    log.copy("kafka_offset = 9")
    report = log.check()
    found = [(each.first_offset, each.last_offset, each.message) for each in report.findings]
    assert found == [(3, 5, "stored 2 times"), (9, 9, "stored 4 times")]
    log.copy("kafka_offset % 2 = 1")
    *named, rest = log.check().findings
    assert len(named) == 10
    assert rest.message == "11 more offsets among these are stored more than once"


def test_a_gap_an_overlap_and_rows_outside_the_ranges(log: MadeLog) -> None:
    publish_some(log, 30)
    log.store(0, 9)
    log.store(15, 19)
    log.store(20, 29)
    assert log.findings() == [("ledger_gap", 10, 14)]
    log.run("INSERT INTO audit_events SELECT * REPLACE (12 AS kafka_offset) FROM audit_events LIMIT 1")
    log.record(25, 26, rejected=2)
    found = log.findings()
    assert ("ledger_gap", 10, 14) in found
    assert ("uncovered_rows", 12, 12) in found
    assert ("ledger_overlap", 25, 26) in found


def test_rows_below_the_first_recorded_offset(log: MadeLog) -> None:
    """As when the first parts of the ledger are gone."""
    publish_some(log, 20)
    log.store(0, 9)
    log.store(10, 19)
    log.run("ALTER TABLE audit_ranges DELETE WHERE first_offset = 0", mutations_sync=2)
    assert log.findings() == [("uncovered_rows", 0, 9)]


def test_sums_that_do_not_add_up(log: MadeLog) -> None:
    publish_some(log)
    log.store(0, 9)
    log.run("INSERT INTO audit_ranges SELECT * REPLACE (3 AS duplicates) FROM audit_ranges")
    log.run("OPTIMIZE TABLE audit_ranges FINAL")
    assert log.findings() == [("ledger_sums", 0, 9)]


def test_missing_and_surplus_letters(log: MadeLog) -> None:
    log.publish_raw(*[b"garbage"] * 10)
    log.store(0, 4, letters=False)
    log.store(5, 9)
    report = log.check()
    assert [(each.kind, each.message) for each in report.findings] == [
        ("missing_letters", "0 dead letters are there, the ledger says 5")
    ]
    log.run("ALTER TABLE audit_ranges DELETE WHERE 1", mutations_sync=2)
    log.record(0, 9, absent=10)
    assert log.findings() == [("surplus_letters", 0, 9)]


def test_letters_of_a_first_try_under_other_rules_are_explained(log: MadeLog) -> None:
    """Rejected by the first try of a batch, which left a letter; stored or a duplicate after the second."""
    log.publish_raw(b"garbage", b"garbage")
    log.store(0, 1)
    log.run("ALTER TABLE audit_ranges DELETE WHERE 1", mutations_sync=2)
    log.publish(make_event())
    log.store(2, 2)
    log.run("ALTER TABLE audit_ranges DELETE WHERE 1", mutations_sync=2)
    log.run("INSERT INTO audit_events SELECT * REPLACE (0 AS kafka_offset) FROM audit_events")
    log.record(0, 2, accepted=2, duplicates=1)
    assert log.findings(warnings=False) == []


def test_lost_ranges(log: MadeLog) -> None:
    publish_some(log, 20)
    log.store(0, 9)
    log.record(10, 14, absent=5, kind="lost")
    log.store(15, 19)
    report = log.check()
    assert [each.kind for each in report.findings] == ["lost"]
    assert report.lost == 5


def test_several_groups_in_one_ledger(log: MadeLog) -> None:
    publish_some(log, 30)
    log.store(0, 9, group="one")
    log.store(10, 19, group="two")
    report = log.check()
    assert report.ok
    assert [each.message for each in report.findings] == ["the consumer group changed: one, then two"]
    log.store(20, 29, group="one")
    [finding] = log.check().findings
    assert finding.severity == "error"
    assert finding.message.startswith("the consumer groups one, two took turns")


def test_the_log_ends_below_the_ledger(log: MadeLog) -> None:
    publish_some(log)
    log.store(0, 9)
    log.record(10, 19, absent=10)
    assert log.findings() == [("log_behind_ledger", 10, 19)]


def test_retention_overtook_the_ledger(log: MadeLog) -> None:
    from confluent_kafka import TopicPartition

    publish_some(log, 20)
    log.store(0, 9)
    admin = AdminClient({"bootstrap.servers": log.settings.kafka})
    for future in admin.delete_records([TopicPartition(log.topic, 0, 15)]).values():
        future.result(60)
    assert log.findings() == [("retention_overtook", 10, 14)]


def test_a_topic_made_again(log: MadeLog) -> None:
    publish_some(log)
    log.store(0, 9)
    log.run("INSERT INTO audit_events SELECT * REPLACE (12 AS kafka_offset) FROM audit_events LIMIT 1")
    [note] = log.check(warnings=False).findings
    assert (note.severity, note.kind) == ("note", "unrecorded_rows")
    admin = AdminClient({"bootstrap.servers": log.settings.kafka})
    admin.delete_topics([log.topic])[log.topic].result(60)
    report = log.check(warnings=False)
    assert report.ok
    assert [each.kind for each in report.findings] == ["topic_recreated", "unrecorded_rows"]
    log.topics.ensure(log.topic, log.settings.dead_topic, partitions=1)
    publish_some(log)
    report = log.check(warnings=False)
    assert report.ok
    assert "the ledger only has " in report.findings[0].message
    assert [each.severity for each in report.findings] == ["warning", "warning"]


def test_rows_that_only_the_projection_still_has(log: MadeLog) -> None:
    """A lightweight DELETE does not reach the projection, which is what consumers read back."""
    publish_some(log, 3_000)
    log.store(0, 2_999)
    assert log.findings() == []
    log.run("DELETE FROM audit_events WHERE kafka_offset IN (7, 8)")
    assert log.findings() == [("stale_projection", 0, 2_999), ("missing_rows", 0, 2_999)]
    log.run("ALTER TABLE audit_events APPLY DELETED MASK", mutations_sync=2)
    assert log.findings() == [("missing_rows", 0, 2_999)]


def test_an_event_stored_at_two_offsets_is_a_warning(log: MadeLog) -> None:
    event, id = make_event(), uuid4()
    log.publish(event, make_event(account_id="acc_2", event_id=id), event)
    log.publish(make_event(account_id="acc_3", event_id=id))
    log.store(0, 3)
    report = log.check()
    assert report.ok
    [finding] = report.findings
    assert (finding.severity, finding.kind, finding.first_offset) == ("warning", "published_again", 2)
    assert str(event.event_id) in finding.message
    log.copy("kafka_offset = 0")
    assert sorted(log.findings()) == [("published_again", 2, 2), ("stored_twice", 0, 0)]
    assert log.findings(partition=0, warnings=False) == [("stored_twice", 0, 0)]


def numbered(sequence: int, instance: str = "i-1") -> bytes:
    source = Source(service="svc", instance_id=instance, sequence=sequence)
    return encode(make_event(source=source).to_record())


def test_holes_in_a_sources_sequence(log: MadeLog) -> None:
    log.publish_raw(*map(numbered, (1, 2, 5, 6, 8, 3)))
    log.publish_raw(numbered(1, "i-2"), numbered(2, "i-2"))
    log.store(0, 7)
    assert log.findings() == [], "a producer may still be trying to deliver them"
    report = log.check(sequence_grace_seconds=-60)
    assert report.ok
    [finding] = report.findings
    assert finding.kind == "sequence_hole"
    assert "source 'svc', instance 'i-1': 2 sequence numbers are not stored: 4, 7;" in finding.message


def test_holes_that_repeated_numbers_would_hide(log: MadeLog) -> None:
    """As many rows as numbers, and the right sum; and numbers that no counter would give."""
    log.publish_raw(*map(numbered, (1, 3, 3, 3, 5)))
    log.publish_raw(*(numbered(sequence, "i-2") for sequence in (7, 7, 8)))
    log.publish_raw(*(numbered(sequence, "i-3") for sequence in (0, (1 << 63) - 1)))
    log.store(0, 9)
    first, second = log.check(sequence_grace_seconds=-60).findings
    assert "instance 'i-1': 2 sequence numbers are not stored: 2, 4;" in first.message
    assert f"instance 'i-3': {(1 << 63) - 2} sequence numbers are not stored" in second.message


def test_a_dead_letter_explains_a_hole(log: MadeLog) -> None:
    source = {"service": "svc", "instance_id": "i-1", "sequence": 2}
    eaten = encode(make_record(action="license_eaten", source=source))
    log.publish_raw(numbered(1), eaten, numbered(3))
    log.store(0, 2)
    assert log.findings(sequence_grace_seconds=-60) == []
    log.publish_raw(numbered(6))
    log.store(3, 3)
    [finding] = log.check(sequence_grace_seconds=-60).findings
    assert "3 sequence numbers are not stored (1 of them are dead letters): 2, 4 to 5" in finding.message


def test_a_hole_may_still_be_on_its_way_in_a_partition_that_lags(log: MadeLog) -> None:
    log.publish_raw(numbered(1), numbered(3))
    log.store(0, 1)
    log.publish_raw(numbered(2))
    assert log.findings(sequence_grace_seconds=0) == []


def test_another_topic_in_the_same_database_is_none_of_its_business(
    log: MadeLog, kafka_bootstrap: str, fresh_database: str
) -> None:
    """Its consumer is at work: a row that is not recorded yet, a number that is still to come."""
    other = MadeLog(kafka_bootstrap, fresh_database)
    other.publish_raw(numbered(1), numbered(3), b"garbage")
    other.store(0, 1)
    other.run("INSERT INTO audit_events SELECT * REPLACE (5 AS kafka_offset) FROM audit_events LIMIT 1")
    publish_some(log)
    log.store(0, 9)
    kinds = [each.kind for each in log.check(sequence_grace_seconds=-60).findings]
    assert kinds == ["published_again"], "which is looked for in the whole table"
    other.close()


def test_only_what_was_recorded_since(log: MadeLog) -> None:
    publish_some(log, 20)
    log.store(0, 9, missing=[3])
    log.store(10, 19)
    assert log.findings(since=datetime.now(UTC) - timedelta(hours=1)) == [("missing_rows", 0, 9)]
    assert log.findings(since=datetime.now(UTC) + timedelta(hours=1)) == []
    log.run(
        "INSERT INTO audit_ranges SELECT * REPLACE (recorded_at - 7200 AS recorded_at) FROM audit_ranges "
        "WHERE first_offset = 0"
    )
    log.run("OPTIMIZE TABLE audit_ranges FINAL")
    report = log.check(since=datetime.now(UTC) - timedelta(hours=1))
    assert (report.ranges, report.findings) == (1, [])


def test_only_one_partition(log: MadeLog) -> None:
    publish_some(log)
    log.store(0, 9, missing=[3])
    assert log.findings(partition=1) == []
    assert log.findings(partition=0) == [("missing_rows", 0, 9)]

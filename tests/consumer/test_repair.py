"""Each repair on the real Kafka and engine: what it mends, what it leaves, and that it says so before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from auditlog_schemas.codec import encode
from kit.events import make_event, make_record
from kit.made_log import MadeLog

pytestmark = pytest.mark.integration


@pytest.fixture
def log(kafka_bootstrap: str, fresh_database: str) -> Iterator[MadeLog]:
    made = MadeLog(kafka_bootstrap, fresh_database)
    yield made
    made.close()


def publish_some(log: MadeLog, count: int) -> None:
    log.publish(*(make_event(account_id=f"acc_{number % 3}") for number in range(count)))


def test_there_is_nothing_to_mend(log: MadeLog) -> None:
    publish_some(log, 5)
    log.store(0, 4)
    assert log.plan() == []
    done = log.repair()
    assert (done.stored, done.removed, done.dead_lettered, done.left, done.report.ok) == (0, 0, 0, (), True)


def test_missing_rows_are_stored_from_kafka_again(log: MadeLog) -> None:
    publish_some(log, 20)
    log.publish_raw(b"garbage")
    log.store(0, 9)
    log.store(10, 20)
    before = log.connection.query_rows("SELECT * FROM audit_events ORDER BY kafka_offset")
    log.delete("kafka_offset IN (0, 7, 8) OR kafka_offset BETWEEN 12 AND 18")
    assert log.plan() == [("store", 3), ("store", 7)]
    assert log.stored() == [1, 2, 3, 4, 5, 6, 9, 10, 11, 19], "a plan changes nothing"
    done = log.repair()
    assert (done.stored, done.left, done.report.findings) == (10, (), [])
    assert log.connection.query_rows("SELECT * FROM audit_events ORDER BY kafka_offset") == before


def test_rows_that_only_the_projection_still_has_are_stored_again(log: MadeLog) -> None:
    publish_some(log, 20)
    log.store(0, 19)
    log.run("DELETE FROM audit_events WHERE kafka_offset IN (7, 8)")
    assert log.plan() == [("apply_mask", 1), ("store", 2)]
    assert log.repair().report.findings == []
    assert log.stored() == list(range(20))


def test_a_duplicate_is_not_stored_in_the_place_of_a_missing_row(log: MadeLog) -> None:
    """Offset 4 repeats an event of the range, offset 6 one of the range before; both were dropped."""
    publish_some(log, 3)
    early, again = make_event(), make_event()
    log.publish(early, again, again, make_event(), early, make_event())
    log.store(0, 3)
    log.store(4, 8, duplicates=[5, 7])
    assert log.findings() == []
    log.delete("kafka_offset IN (4, 6)")
    assert log.plan() == [("store", 2)]
    assert log.repair().report.findings == []
    assert log.stored() == [0, 1, 2, 3, 4, 6, 8]


def test_only_what_kafka_still_has_is_stored_again(log: MadeLog) -> None:
    publish_some(log, 20)
    log.store(0, 19)
    log.delete("kafka_offset IN (3, 12)")
    admin = AdminClient({"bootstrap.servers": log.settings.kafka})
    for future in admin.delete_records([TopicPartition(log.topic, 0, 10)]).values():
        future.result(60)
    assert log.plan() == [("store", 1), ("explain", 0)]
    done = log.repair()
    assert done.stored == 1
    [left] = done.left
    assert left.text.startswith("1 accepted messages cannot be found")
    assert "Kafka no longer has 10 of the range's 20 messages" in left.text
    assert 12 in log.stored()
    assert not done.report.ok


def test_what_todays_rules_reject_is_not_stored_again(log: MadeLog, tmp_path: Path) -> None:
    catalog = tmp_path / "more.toml"
    catalog.write_text(
        '[actions.license_eaten]\ngroup = "Licenses"\nentity_type = "license"\nkind = "deleted"\n'
        'sentence = "{actor} ate license {entity}"\n'
    )
    today = log.settings
    log.settings = today.model_copy(update={"catalog": (catalog,)})
    log.publish_raw(encode(make_record(action="license_eaten")), b"garbage")
    log.store(0, 1, missing=[0])
    log.settings, longer = today, log.settings
    assert [action for action, _ in log.plan()] == ["explain"]
    assert log.repair().stored == 0
    assert list(log.letters()) == [1]
    log.settings = longer
    assert log.plan() == [("store", 1)]
    assert log.repair().report.findings == []


def test_too_many_candidates_are_left_alone(log: MadeLog) -> None:
    """The ledger counts a duplicate that today's window cannot tell: either may be the missing one."""
    publish_some(log, 5)
    log.store(0, 4, duplicates=[2], missing=[3])
    assert [action for action, _ in log.plan()] == ["explain"]
    assert log.repair().stored == 0
    assert log.stored() == [0, 1, 4]


def test_missing_dead_letters_are_written_again(log: MadeLog) -> None:
    publish_some(log, 3)
    log.publish_raw(b"garbage", None, encode(make_record(action="license_eaten")))
    log.store(0, 5, letters=False)
    assert log.plan() == [("dead_letter", 3)]
    done = log.repair()
    assert (done.dead_lettered, done.report.findings) == (3, [])
    rules = log.letters()
    assert sorted(rules) == [3, 4, 5]
    assert rules[5] == "unknown_action"


def test_a_dead_letter_of_rules_that_no_longer_hold_says_so(log: MadeLog) -> None:
    """The ledger says rejected, its letter is gone, and today's rules accept the message."""
    publish_some(log, 4)
    log.store(0, 2)
    log.record(3, 3, rejected=1)
    assert log.plan() == [("dead_letter", 1)]
    assert log.repair().report.findings == []
    assert log.letters() == {3: "rejected_before"}


def test_rows_stored_twice_are_removed_with_a_record(log: MadeLog) -> None:
    publish_some(log, 40)
    log.store(0, 39)
    before = log.connection.query_rows("SELECT * FROM audit_events ORDER BY kafka_offset")
    log.copy("kafka_offset IN (3, 4, 5, 9)")
    log.run("OPTIMIZE TABLE audit_events FINAL")
    log.copy("kafka_offset = 9")
    assert log.plan() == [("remove_copies", 6)]
    done = log.repair()
    assert (done.removed, done.report.findings) == (6, [])
    assert log.connection.query_rows("SELECT * FROM audit_events ORDER BY kafka_offset") == before
    record = "SELECT kafka_offset, removed_by, reason, removed FROM audit_removals FINAL ORDER BY 1"
    assert log.connection.query_rows(record) == [
        (offset, "tester@host", "stored twice", 1) for offset in (3, 4, 5, 9, 9, 9)
    ]


def test_copies_are_removed_wherever_they_are(log: MadeLog) -> None:
    """Alone in a part, first in a part, in the middle, many of one row; the others stay as they were."""
    publish_some(log, 100)
    log.store(0, 99)
    before = log.connection.query_rows("SELECT * FROM audit_events ORDER BY kafka_offset")
    for condition in ("kafka_offset = 0", "kafka_offset < 9", "kafka_offset % 3 = 1", "kafka_offset = 99"):
        log.copy(condition)
    for _ in range(3):
        log.copy("kafka_offset = 50")
    done = log.repair()
    assert done.report.findings == []
    assert log.connection.query_rows("SELECT * FROM audit_events ORDER BY kafka_offset") == before


def test_rows_that_differ_are_no_copies(log: MadeLog) -> None:
    publish_some(log, 5)
    log.store(0, 4)
    log.run(
        "INSERT INTO audit_events SELECT * REPLACE ('other' AS entity_id) FROM audit_events "
        "WHERE kafka_offset = 3"
    )
    log.copy("kafka_offset = 4")
    assert log.plan() == [("remove_copies", 1), ("explain", 1)]
    done = log.repair()
    assert done.removed == 1
    assert log.stored() == [0, 1, 2, 3, 3, 4]
    assert [(step.action, step.first_offset) for step in done.left] == [("explain", 3)]


def test_what_is_left_to_an_operator_is_explained(log: MadeLog) -> None:
    publish_some(log, 30)
    log.store(0, 9)
    log.record(10, 14, absent=5, kind="lost")
    log.store(20, 29)
    assert log.plan() == [("explain", 0), ("explain", 0)]
    done = log.repair()
    texts = [step.text for step in done.left]
    assert any("'gap in the ledger'" in text for text in texts)
    assert any("'retention overtook us'" in text for text in texts)


def test_rows_of_a_topic_that_is_gone_are_explained(log: MadeLog) -> None:
    publish_some(log, 5)
    log.store(0, 4, missing=[2])
    admin = AdminClient({"bootstrap.servers": log.settings.kafka})
    admin.delete_topics([log.topic])[log.topic].result(60)
    assert log.plan() == [("explain", 0)]
    [left] = log.repair().left
    assert "'topic recreated'" in left.text

"""What a check says of numbers at both ends of Int64, also of those that cannot come from Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from kit.events import make_event
from kit.made_log import MadeLog

pytestmark = pytest.mark.integration

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1


@pytest.fixture
def log(kafka_bootstrap: str, fresh_database: str) -> Iterator[MadeLog]:
    made = MadeLog(kafka_bootstrap, fresh_database)
    yield made
    made.close()


WHOLE: Final[tuple[tuple[int, ...], ...]] = (
    (HIGHEST,),
    (LOWEST,),
    (HIGHEST - 1, HIGHEST),
    (LOWEST, LOWEST + 1),
    (HIGHEST, HIGHEST),
    (HIGHEST, HIGHEST, HIGHEST, HIGHEST, HIGHEST),
    (LOWEST, LOWEST, LOWEST, LOWEST, LOWEST),
    (HIGHEST - 2, HIGHEST - 2, HIGHEST - 1, HIGHEST, HIGHEST),
    tuple(range(HIGHEST - 20, HIGHEST + 1)),
    tuple(range(LOWEST, LOWEST + 21)),
    tuple(range(-10, 11)),
)
"""Sequences of an instance each that have no hole."""

HOLES: Final[dict[tuple[int, ...], str]] = {
    (HIGHEST - 2, HIGHEST): f"1 sequence numbers are not stored: {HIGHEST - 1}",
    (LOWEST, LOWEST + 2): f"1 sequence numbers are not stored: {LOWEST + 1}",
    (1, 2, HIGHEST): f"{HIGHEST - 3} sequence numbers are not stored: 3 to {HIGHEST - 1}",
    (1, HIGHEST, HIGHEST): f"{HIGHEST - 2} sequence numbers are not stored: 2 to {HIGHEST - 1}",
    (1, HIGHEST - 1): f"{HIGHEST - 3} sequence numbers are not stored: 2 to {HIGHEST - 2}",
    (-1, HIGHEST): f"{HIGHEST} sequence numbers are not stored: 0 to {HIGHEST - 1}",
    (LOWEST, LOWEST, 0): f"{HIGHEST} sequence numbers are not stored: {LOWEST + 1} to -1",
    (LOWEST, HIGHEST): f"{2 * HIGHEST} sequence numbers are not stored: {LOWEST + 1} to {HIGHEST - 1}",
    (LOWEST, 0, HIGHEST, HIGHEST): f"{2 * HIGHEST - 1} sequence numbers are not stored: "
    f"{LOWEST + 1} to -1, 1 to {HIGHEST - 1}",
    (-3, 0, 2): "3 sequence numbers are not stored: -2 to -1, 1",
}
"""What is said of sequences that have one."""


def store_sequences(log: MadeLog, instances: dict[str, tuple[int, ...]]) -> None:
    """Store an event for each number; the table takes the negative ones that the rules refuse, too."""
    rows = [(name, number) for name, numbers in instances.items() for number in numbers]
    log.publish(*(make_event() for _ in rows))
    log.store(0, len(rows) - 1)
    names, numbers = [name for name, _ in rows], [number for _, number in rows]
    log.run(
        f"ALTER TABLE audit_events UPDATE source_instance_id = {names}[kafka_offset + 1], "
        f"source_sequence = {numbers}::Array(Int64)[kafka_offset + 1] WHERE true",
        mutations_sync=2,
    )


def test_sequences(log: MadeLog) -> None:
    cases = {f"whole {number}": numbers for number, numbers in enumerate(WHOLE)}
    store_sequences(log, cases | {f"hole {number}": numbers for number, numbers in enumerate(HOLES)})
    found = log.check(sequence_grace_seconds=-60).findings
    said = {each.message.split(", instance ")[1].split("; ")[0] for each in found}
    assert said == {f"'hole {number}': {text}" for number, text in enumerate(HOLES.values())}


def record_by_hand(log: MadeLog, first: int, last: int, accepted: int) -> None:
    """Write a row of the ledger that no consumer writes, because Kafka has no such offsets."""
    log.run(
        f"INSERT INTO audit_ranges SELECT * REPLACE ({first} AS first_offset, {last} AS last_offset, "
        f"{accepted} AS accepted, 0 AS rejected, 0 AS duplicates, 0 AS absent) FROM audit_ranges LIMIT 1"
    )


def store_by_hand(log: MadeLog, *offsets: int) -> None:
    for offset in offsets:
        log.run(
            f"INSERT INTO audit_events SELECT * REPLACE ({offset} AS kafka_offset) FROM audit_events LIMIT 1",
            insert_deduplicate=0,
        )


def test_offsets_at_the_upper_end(log: MadeLog) -> None:
    log.publish(*(make_event() for _ in range(3)))
    log.store(0, 2)
    record_by_hand(log, HIGHEST - 1, HIGHEST, 2)
    store_by_hand(log, HIGHEST - 1, HIGHEST, HIGHEST)
    assert log.findings(warnings=False) == [
        ("log_behind_ledger", 3, HIGHEST),
        ("ledger_gap", 3, HIGHEST - 2),
        ("stored_twice", HIGHEST, HIGHEST),
    ]
    record_by_hand(log, 2, HIGHEST, 1)
    found = log.findings(warnings=False)
    assert ("ledger_sums", 2, HIGHEST) in found
    assert ("ledger_overlap", HIGHEST - 1, HIGHEST) in found
    assert "ledger_gap" not in {kind for kind, _, _ in found}


def test_offsets_at_the_lower_end(log: MadeLog) -> None:
    log.publish(*(make_event() for _ in range(3)))
    log.store(0, 2)
    record_by_hand(log, LOWEST, LOWEST + 1, 2)
    store_by_hand(log, LOWEST, LOWEST + 1)
    assert log.findings(warnings=False) == [("ledger_gap", LOWEST + 2, -1)]
    log.delete(f"kafka_offset = {LOWEST}")
    assert log.findings(warnings=False) == [
        ("ledger_gap", LOWEST + 2, -1),
        ("missing_rows", LOWEST, LOWEST + 1),
    ]


def test_a_page_of_ranges_may_end_with_the_last_offset(log: MadeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditlog_consumer.check.recorded.RANGES_PER_PAGE", 2)
    log.publish(make_event())
    log.store(0, 0)
    for offset in (HIGHEST - 2, HIGHEST - 1, HIGHEST):
        record_by_hand(log, offset, offset, 1)
        store_by_hand(log, offset)
    report = log.check(warnings=False)
    assert report.ranges == 4
    assert [each.kind for each in report.findings] == ["log_behind_ledger", "ledger_gap"]


def test_a_repair_of_ranges_at_the_ends_says_what_is_left(log: MadeLog) -> None:
    log.publish(*(make_event() for _ in range(3)))
    log.store(0, 2)
    record_by_hand(log, LOWEST, LOWEST + 1, 2)
    record_by_hand(log, HIGHEST - 1, HIGHEST, 2)
    store_by_hand(log, HIGHEST, HIGHEST)
    done = log.repair()
    assert (done.stored, done.removed) == (0, 1)
    assert {(step.action, step.first_offset) for step in done.left} >= {
        ("explain", 3),
        ("explain", LOWEST),
        ("explain", HIGHEST - 1),
    }

"""Ranges of several threads are recorded together: each thread gets its own outcome, nobody another's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

import auditlog_storage.ledger
from auditlog_schemas.errors import StorageRejected, StorageUnavailable
from auditlog_storage.connection import Connection
from auditlog_storage.deadline import InsertTooLate
from auditlog_storage.ledger import Ledger, Range
from auditlog_storage.settings import StorageSettings
from storage.event_log import Log

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def range_of(number: int, first: int, last: int, topic_id: UUID) -> Range:
    count = last - first + 1
    return Range("audit.events", topic_id, number, first, last, count, 0, 0, 0, "auditlog", NOW)


class Gate:
    """Takes the place of the insert: lets one through when it is opened, with an outcome of the test's."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.outcomes: list[BaseException | None] = []
        self._open = threading.Semaphore(0)

    def insert(self, *given: Any) -> None:
        _, table, rows, token, _ = given
        assert (table.name, token) == ("audit_ranges", None)
        self.written.append(rows.num_rows)
        assert self._open.acquire(timeout=10)
        if (outcome := self.outcomes.pop(0)) is not None:
            raise outcome

    def open(self, *outcomes: BaseException | None) -> None:
        self.outcomes += outcomes
        for _ in outcomes:
            self._open.release()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate()
    monkeypatch.setattr(auditlog_storage.ledger, "insert_until", made.insert)
    return made


@contextmanager
def three_at_once(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Future[None]]]:
    """Append in three threads: the first is writing, and the others wait to be written together."""
    ledger, topic_id = Ledger(Connection(StorageSettings.load(url="http://127.0.0.1:1/never"))), uuid4()

    def found(ranges: list[Range]) -> dict[Any, Range]:
        return {(each.topic_id, each.kafka_partition, each.first_offset): each for each in ranges}

    monkeypatch.setattr(ledger, "_starting_with", found)
    with ThreadPoolExecutor(3) as threads:
        futures = []
        for number in range(3):
            futures.append(threads.submit(ledger.append, range_of(number, 0, 9, topic_id)))
            deadline = time.monotonic() + 120
            while len(ledger._waiting) < number or not gate.written:
                assert time.monotonic() < deadline
                time.sleep(0.002)
        yield futures


def test_those_who_wait_are_written_together(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    with three_at_once(gate, monkeypatch) as futures:
        gate.open(None, None)
        for future in futures:
            future.result(60)
    assert gate.written == [1, 2]


def test_an_error_is_the_outcome_of_all_that_were_written_together(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with three_at_once(gate, monkeypatch) as futures:
        gate.open(None, StorageUnavailable("away"))
        futures[0].result(60)
        for future in futures[1:]:
            with pytest.raises(StorageUnavailable):
                future.result(60)


def test_a_thread_that_dies_while_writing_for_others_leaves_none_of_them_content(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with three_at_once(gate, monkeypatch) as futures:
        gate.open(None, MemoryError())
        futures[0].result(60)
        errors = [future.exception(10) for future in futures[1:]]
    assert None not in errors


@pytest.mark.integration
def test_many_threads_record_many_ranges(shared_log: Log) -> None:
    ledger, topic_id = Ledger(shared_log.connection), uuid4()

    def record(number: int) -> None:
        for first in range(0, 100, 10):
            ledger.append(range_of(number, first, first + 9, topic_id))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(record, range(8)))
    found = list(ledger.ranges(topic_id))
    assert len(found) == 80
    assert ledger.gaps(topic_id) == []
    assert [ledger.furthest(topic_id, number) for number in range(8)] == [
        range_of(number, 90, 99, topic_id) for number in range(8)
    ]


@pytest.mark.integration
def test_each_thread_gets_its_own_contradiction(shared_log: Log) -> None:
    ledger, topic_id = Ledger(shared_log.connection), uuid4()
    for number in range(8):
        ledger.append(range_of(number, 0, 99, topic_id))

    def record(number: int) -> bool:
        try:
            ledger.append(range_of(number, 0, 99 if number % 2 else 9, topic_id))
        except StorageRejected:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(record, range(8))) == [bool(number % 2) for number in range(8)]
    assert all(ledger.next_offset(topic_id, number) == 100 for number in range(8))


@pytest.mark.integration
def test_a_deadline_among_others_makes_nobody_content_in_vain(shared_log: Log) -> None:
    """Who is written together with one that is too late tries again."""
    ledger, topic_id = Ledger(shared_log.connection), uuid4()
    now = shared_log.writer.engine_now()

    def record(number: int) -> bool:
        deadline = now + timedelta(seconds=-5 if number == 3 else 60)
        try:
            ledger.append(range_of(number, 0, 9, topic_id), deadline)
        except InsertTooLate:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(record, range(8)))
    assert not outcomes[3]
    recorded = {each.kafka_partition for each in ledger.ranges(topic_id)}
    assert recorded == {number for number, content in enumerate(outcomes) if content}

"""Streams of exports give way to what somebody waits for, and still go on."""

from __future__ import annotations

import threading
import time

import pytest

from auditlog_storage.event_stream import EventStream
from auditlog_storage.filters import EventFilter
from auditlog_storage.tables import FIRST
from storage.event_log import Log

pytestmark = pytest.mark.integration

BUSY_SECONDS = 8


def _rows(events: EventStream) -> int:
    opened = events.batches(
        "acc_1", EventFilter(), events.snapshot(), "action", block_rows_max=1_000, settings={}
    )
    with opened as batches:
        return sum(batch.num_rows for batch in batches)


def test_a_stream_waits_for_those_who_come_first_but_not_for_ever(log: Log) -> None:
    log.store(*(log.event() for _ in range(3_000)))
    events = EventStream(log.connection)
    began = time.monotonic()
    assert _rows(events) == 3_000
    alone = time.monotonic() - began

    def be_busy() -> None:
        sql = "SELECT sleepEachRow(1) FROM numbers({seconds:UInt8})"
        log.connection.query_rows(sql, {"seconds": BUSY_SECONDS}, {**FIRST, "max_block_size": 1})

    busy = threading.Thread(target=be_busy)
    busy.start()
    running = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow(1) FROM numbers%'"
    # This query finds itself, too.
    while log.connection.query_rows(running)[0][0] < 2:
        assert busy.is_alive()
        time.sleep(0.01)
    began = time.monotonic()
    assert _rows(events) == 3_000
    beside = time.monotonic() - began
    assert beside > alone + 0.5
    assert busy.is_alive(), "the stream had to wait until the other query was over"
    busy.join()

"""Streams of exports give way to what somebody waits for, and still go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from auditlog_schemas.errors import AuditError
from auditlog_storage.event_stream import EventStream
from auditlog_storage.filters import EventFilter
from auditlog_storage.tables import FIRST
from storage.event_log import Log

pytestmark = pytest.mark.integration

EVENTS = 3_000
BUSY = "SELECT sleepEachRow(1) FROM numbers(120)"


def _rows(events: EventStream) -> int:
    opened = events.batches(
        "acc_1", EventFilter(), events.snapshot(), "action", block_rows_max=1_000, settings={}
    )
    with opened as batches:
        return sum(batch.num_rows for batch in batches)


@contextmanager
def _busy(log: Log) -> Iterator[threading.Thread]:
    """Keep a query running that comes first."""

    def ask() -> None:
        with suppress(AuditError):
            log.connection.query_rows(BUSY, {}, {**FIRST, "max_block_size": 1})

    thread = threading.Thread(target=ask)
    thread.start()
    running = "SELECT count() FROM system.processes WHERE query LIKE {like:String}"
    while log.connection.query_rows(running, {"like": f"{BUSY}%"}) == [(0,)]:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield thread
    finally:
        log.connection.command("KILL QUERY WHERE query LIKE {like:String} ASYNC", {"like": f"{BUSY}%"})
        thread.join()


def test_a_stream_waits_for_those_who_come_first_but_not_for_ever(log: Log) -> None:
    log.store(*(log.event() for _ in range(EVENTS)))
    events = EventStream(log.connection)
    with _busy(log) as thread:
        began = time.monotonic()
        assert _rows(events) == EVENTS
        assert time.monotonic() - began > 1.0, "it did not wait"
        assert thread.is_alive(), "it waited until the other query was over"

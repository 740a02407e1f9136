"""The bounded buffer: waits a bounded time for room, then says BufferFull."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from auditlog_producers import AuditProducer, BufferFull, EventsUndelivered, FailedDelivery


def _close(producer: AuditProducer) -> None:
    with pytest.raises(EventsUndelivered):
        producer.close(0)


def test_a_full_buffer_blocks_up_to_the_bound_and_then_raises(nobody: str, parts: dict[str, Any]) -> None:
    producer = AuditProducer(nobody, service="s", buffer_messages_max=3, block_seconds_max=0.4)
    handles = [producer.record(**parts) for _ in range(3)]
    started = time.monotonic()
    with pytest.raises(BufferFull, match=r"3 events wait .*Connection refused"):
        producer.record(**parts)
    assert 0.4 <= time.monotonic() - started < 2
    assert [handle.sequence for handle in handles] == [1, 2, 3]
    stats = producer.stats
    assert (stats.accepted, stats.buffer_full, stats.in_flight) == (3, 1, 3)
    _close(producer)


def test_a_bound_of_zero_never_waits(nobody: str, parts: dict[str, Any]) -> None:
    producer = AuditProducer(nobody, service="s", buffer_messages_max=1, block_seconds_max=0)
    producer.record(**parts)
    tries = []
    for _ in range(5):
        started = time.monotonic()
        with pytest.raises(BufferFull):
            producer.record(**parts)
        tries.append(time.monotonic() - started)
    # A busy machine may hold up one of them, a wait of ours would all.
    assert min(tries) < 0.2
    _close(producer)


def test_the_bytes_bound_holds_too(nobody: str, parts: dict[str, Any]) -> None:
    producer = AuditProducer(nobody, service="s", buffer_bytes_max=1024 * 1024, block_seconds_max=0)
    metadata = {f"k{i}": "x" * 500 for i in range(40)}
    with pytest.raises(BufferFull):
        [producer.record(**parts, metadata=metadata) for _ in range(1000)]
    assert 40 < producer.stats.accepted < 60
    _close(producer)


def test_the_wait_ends_as_soon_as_there_is_room(nobody: str, parts: dict[str, Any]) -> None:
    """Here the room comes from an event that fails after the delivery timeout."""
    seen: list[FailedDelivery] = []
    producer = AuditProducer(
        nobody,
        service="s",
        buffer_messages_max=1,
        block_seconds_max=20,
        delivery_timeout_seconds=0.5,
        on_error=seen.append,
    )
    producer.record(**parts)
    started = time.monotonic()
    assert producer.record(**parts).sequence == 2
    assert time.monotonic() - started < 10
    assert len(seen) >= 1
    producer.close(0)


def test_refused_events_leave_no_hole_in_the_sequence(nobody: str, parts: dict[str, Any]) -> None:
    producer = AuditProducer(
        nobody,
        service="s",
        buffer_messages_max=1,
        block_seconds_max=0,
        delivery_timeout_seconds=0.3,
        on_error=lambda _: None,
    )
    sequences: list[int] = []
    deadline = time.monotonic() + 120
    while len(sequences) < 3 and time.monotonic() < deadline:
        try:
            sequences.append(producer.record(**parts).sequence)
        except BufferFull:
            time.sleep(0.05)
    assert sequences == [1, 2, 3]
    assert producer.stats.buffer_full > 0
    producer.close(0)


def test_on_error_may_forward_without_waiting_for_itself(nobody: str, parts: dict[str, Any]) -> None:
    outcomes: list[Exception | None] = []
    again = threading.Event()

    def retry(failed: FailedDelivery) -> None:
        try:
            producer.forward(failed.event)
            outcomes.append(None)
        except BufferFull as error:
            outcomes.append(error)
        again.set()

    producer = AuditProducer(
        nobody,
        service="s",
        buffer_messages_max=1,
        block_seconds_max=30,
        delivery_timeout_seconds=0.3,
        on_error=retry,
    )
    started = time.monotonic()
    producer.record(**parts)
    assert again.wait(15)
    assert time.monotonic() - started < 15
    assert len(outcomes) >= 1
    producer.close(0)

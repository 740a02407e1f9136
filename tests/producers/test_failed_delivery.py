"""Events that never reach Kafka: on the handle, in the counters, in on_error, at close. Never silent."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import KafkaError

from auditlog_producers import (
    AuditProducer,
    BrokerUnavailable,
    Change,
    DeliveryPending,
    Entity,
    EventsUndelivered,
    FailedDelivery,
    PublishHandle,
    TerminalError,
)


@pytest.fixture
def hopeless(nobody: str) -> AuditProducer:
    """Nobody listens, and events are given up after 0.3 s."""
    return AuditProducer(nobody, service="s", delivery_timeout_seconds=0.3)


def test_a_failed_delivery_is_an_error_on_the_handle_and_a_counter(
    hopeless: AuditProducer, parts: dict[str, Any]
) -> None:
    handle = hopeless.record(**parts)
    with pytest.raises(BrokerUnavailable, match="same event_id") as caught:
        handle.result(60)
    assert not isinstance(caught.value, DeliveryPending)
    assert isinstance(handle.error, BrokerUnavailable)
    assert handle.done()
    stats = hopeless.stats
    assert (stats.failed, stats.delivered, stats.in_flight) == (1, 0, 0)
    hopeless.close(0)  # the failure was seen, so closing is quiet


def test_result_and_flush_never_wait_longer_than_told(nobody: str, parts: dict[str, Any]) -> None:
    producer = AuditProducer(nobody, service="s")
    handle = producer.record(**parts)
    producer.record(**parts)
    started = time.monotonic()
    with pytest.raises(DeliveryPending, match="do not publish it again"):
        handle.result(0.2)
    assert producer.flush(0.2) == 2
    assert producer.flush(-1) == 2
    assert time.monotonic() - started < 2
    assert not handle.done()
    assert handle.error is None
    with pytest.raises(EventsUndelivered):
        producer.close(0)


def test_close_gives_up_what_is_left_and_says_how_many(nobody: str, parts: dict[str, Any]) -> None:
    producer = AuditProducer(nobody, service="s")
    handles = [producer.record(**parts) for _ in range(5)]
    with pytest.raises(EventsUndelivered, match="5 audit events") as caught:
        producer.close(0.1)
    assert caught.value.count == 5
    assert isinstance(caught.value.last_error, BrokerUnavailable)
    assert all(isinstance(handle.error, BrokerUnavailable) for handle in handles)
    assert producer.stats.failed == 5
    producer.close()


def test_an_earlier_failure_that_nobody_saw_is_raised_at_close(
    hopeless: AuditProducer, parts: dict[str, Any]
) -> None:
    seen, _ = hopeless.record(**parts), hopeless.record(**parts)
    assert hopeless.flush(20) == 0
    assert seen.error is not None
    with pytest.raises(EventsUndelivered) as caught:
        hopeless.close()
    assert caught.value.count == 1


def test_on_error_gets_the_event_as_it_was_sent(nobody: str, parts: dict[str, Any]) -> None:
    failures: queue.Queue[FailedDelivery] = queue.Queue()
    producer = AuditProducer(nobody, service="s", on_error=failures.put)
    handle = producer.record(
        **parts | {"action": "customer_updated", "entity": Entity(type="customer", id="c")},
        changes=[Change.of("password", "a", "b")],
    )
    producer.close(0)
    failed = failures.get(timeout=20)
    assert isinstance(failed.error, BrokerUnavailable)
    assert failed.event.event_id == handle.event_id
    assert failed.event.source.sequence == 1
    assert failed.event.changes[0].after == '"[redacted]"'


def test_a_failed_event_is_forwarded_with_its_id_and_number(
    nobody: str, producer: AuditProducer, parts: dict[str, Any]
) -> None:
    failures: queue.Queue[FailedDelivery] = queue.Queue()
    broken = AuditProducer(nobody, service="s", on_error=failures.put)
    sent = broken.record(**parts)
    broken.close(0)
    again = producer.forward(failures.get(timeout=20).event)
    assert (again.event_id, again.sequence) == (sent.event_id, sent.sequence)
    assert again.result(60).offset >= 0


def test_an_on_error_that_raises_harms_nobody(
    nobody: str, parts: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: FailedDelivery) -> None:
        raise RuntimeError("disk full")

    producer = AuditProducer(nobody, service="s", on_error=broken)
    handles = [producer.record(**parts) for _ in range(3)]
    producer.close(0)
    assert all(handle.error for handle in handles)
    assert producer.stats.failed == 3
    assert "on_error raised" in caplog.text


def test_failures_are_logged_but_not_one_line_each(
    nobody: str, parts: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    producer = AuditProducer(nobody, service="s")
    with caplog.at_level(logging.ERROR, "auditlog_producers"):
        [producer.record(**parts) for _ in range(200)]
        with pytest.raises(EventsUndelivered, match="200 audit events"):
            producer.close(0)
    lines = [r for r in caplog.records if "was not delivered" in r.getMessage()]
    assert 1 <= len(lines) <= 3


def test_leaving_the_with_block_raises_what_is_undelivered(
    hopeless: AuditProducer, parts: dict[str, Any]
) -> None:
    with pytest.raises(EventsUndelivered), hopeless as producer:
        producer.record(**parts)


def test_an_exception_under_way_is_not_masked(hopeless: AuditProducer, parts: dict[str, Any]) -> None:
    hopeless.record(**parts)
    with pytest.raises(KeyError) as caught, hopeless:
        raise KeyError("the real problem")
    assert "1 audit events were accepted but not delivered" in caught.value.__notes__[0]


def test_a_fatal_error_stops_further_publishing(producer: AuditProducer, parts: dict[str, Any]) -> None:
    producer.record(**parts).result(60)
    fatal = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "lost the thread", fatal=True)
    producer._sender._on_client_error(fatal)
    with pytest.raises(TerminalError, match=r"lost the thread.*make a new one"):
        producer.record(**parts)


def test_two_threads_that_see_a_failure_count_as_one() -> None:
    both = threading.Barrier(2)

    class Watched(PublishHandle):
        """Gives another thread the time to read the callback before it is taken away."""

        _callback: Callable[[], None] | None

        @property
        def _on_failure_seen(self) -> Callable[[], None] | None:
            found = self._callback
            with suppress(threading.BrokenBarrierError):
                both.wait(0.5)
            return found

        @_on_failure_seen.setter
        def _on_failure_seen(self, callback: Callable[[], None] | None) -> None:
            self._callback = callback

    seen: list[int] = []
    handle = Watched(UUID(int=1), "acc_1", 1)
    handle.resolve(BrokerUnavailable("given up"), lambda: seen.append(1))
    with ThreadPoolExecutor(2) as threads:
        errors = list(threads.map(lambda _: handle.error, range(2)))
    assert [type(error) for error in errors] == [BrokerUnavailable] * 2
    assert seen == [1]

"""The sender: owns the Kafka client, the sequence counter and the thread that serves delivery reports."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError, KafkaException, Message

from auditlog_producers.delivery import Delivered, EventsUndelivered
from auditlog_producers.handle import PublishHandle
from auditlog_producers.kafka_config import Limits, open_client
from auditlog_producers.kafka_errors import translate
from auditlog_producers.stats import ProducerStats, Tally
from auditlog_schemas.errors import AuditError, BufferFull, TerminalError

POLL_SECONDS: Final = 0.05
"""How long the poller sleeps in one call, and so how long `close` may wait for it."""
FULL_BUFFER_RETRY_SECONDS: Final = 0.05
PURGE_SECONDS_MAX: Final = 5.0
LOG_SECONDS_MIN: Final = 5.0
"""Between two log lines of the same kind: an outage fails thousands of events and connections."""

_log = logging.getLogger(__name__)


class Sender:
    """Sends messages to one topic and resolves their handles.

    One lock guards the sequence counter, the counters and the hand-over to the client, so that a number is
    used exactly when the client took the message. Nothing under that lock waits for the network.

    Attributes:
        closed: `close` has run to its end.
    """

    def __init__(
        self,
        kafka: str,
        topic: str,
        limits: Limits,
        kafka_config: Mapping[str, Any],
        on_failure: Callable[[bytes, AuditError], None] | None,
    ) -> None:
        self._topic = topic
        self._limits = limits
        self._on_failure = on_failure
        self._changed = threading.Condition(threading.Lock())
        self._closing_lock = threading.Lock()
        self._tally = Tally()
        self._sequence = 0
        self._unseen_failures = 0
        self._last_failure: AuditError | None = None
        self._logged_at: dict[str, float] = {}
        self._last_trouble = ""
        self._refusal: AuditError | None = None
        self._forked = False
        self.closed = False
        self._stopped = threading.Event()
        self._client = open_client(kafka, limits, kafka_config, self._on_client_error)
        self._poller = threading.Thread(target=self._serve, name="auditlog-producer", daemon=True)
        self._poller.start()

    @property
    def stats(self) -> ProducerStats:
        """The counters as they stand."""
        with self._changed:
            return self._tally.snapshot()

    def count_invalid(self) -> None:
        """Count an event that was refused before it got here."""
        with self._changed:
            self._tally.invalid += 1

    def require_usable(self) -> None:
        """Raise why nothing can be sent any more, if so.

        Raises:
            TerminalError: closed, made before a fork, or failed fatally.
        """
        if self._refusal is not None:
            raise type(self._refusal)(*self._refusal.args) from self._refusal

    def send(
        self, event_id: UUID, account_id: str, sequence: int | None, message_of: Callable[[int], bytes]
    ) -> PublishHandle:
        """Hand a message to the client; `sequence` None takes the next number of this sender's counter.

        Raises:
            BufferFull: the buffer stayed full for the whole bounded wait. No number was used.
            TerminalError: see `require_usable`.
        """
        # Delivery reports make room, and this very thread serves them: waiting in it would be in vain.
        on_poller = threading.current_thread() is self._poller
        deadline = time.monotonic() + (0.0 if on_poller else self._limits.block_seconds_max)
        with self._changed:
            while True:
                self.require_usable()
                number = self._sequence + 1 if sequence is None else sequence
                handle = PublishHandle(event_id, account_id, number)
                message = message_of(number)
                if self._produce(account_id.encode(), message, handle):
                    if sequence is None:
                        self._sequence = number
                    self._tally.accepted += 1
                    return handle
                left = deadline - time.monotonic()
                if left <= 0:
                    self._tally.buffer_full += 1
                    raise self._buffer_full()
                # The client frees a message's room shortly after its report: look again soon in any case.
                self._changed.wait(min(left, FULL_BUFFER_RETRY_SECONDS))

    def flush(self, timeout_seconds: float) -> int:
        """Wait until nothing is in flight, at most `timeout_seconds`; return how many events still are."""
        if self._forked:
            self.require_usable()
        with self._changed:
            self._changed.wait_for(lambda: self._tally.in_flight == 0, max(0.0, timeout_seconds))
            return self._tally.in_flight

    def close(self, timeout_seconds: float) -> None:
        """Flush, give up what is left, stop. A second call does nothing.

        Raises:
            EventsUndelivered: events failed, now or earlier, and neither a handle nor `on_failure` told.
        """
        with self._closing_lock:
            if self.closed:
                return
            self._refuse(TerminalError("this AuditProducer is closed; make a new one"))
            if self.flush(timeout_seconds):
                self._client.purge()
                self.flush(PURGE_SECONDS_MAX)
            self.closed = True
            self._stopped.set()
            self._poller.join(PURGE_SECONDS_MAX)
            if not self._poller.is_alive() and self._tally.in_flight == 0:
                self._client.close()
        unknown = self._tally.in_flight
        if self._unseen_failures or unknown:
            raise EventsUndelivered(self._unseen_failures + unknown, self._last_failure)

    def abandon_after_fork(self) -> None:
        """Become unusable in a forked child, where neither the poller nor the client's threads exist."""
        import ctypes

        # The client must never be freed here: its sockets are shared with the parent, and freeing it would
        # talk on them and wait for threads that this process does not have.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._client))
        self._changed = threading.Condition(threading.Lock())
        self._closing_lock = threading.Lock()
        self._forked = self.closed = True
        self._refusal = TerminalError(
            "this AuditProducer was made before os.fork(); make one in the child process"
            " (for example in gunicorn's post_fork hook)"
        )

    def _produce(self, key: bytes, message: bytes, handle: PublishHandle) -> bool:
        """Tell whether the client took the message; False when its buffer is full."""
        try:
            self._client.produce(self._topic, message, key, on_delivery=partial(self._on_delivery, handle))
        except BufferError:
            return False
        except KafkaException as error:
            raise translate(error.args[0], self._last_trouble) from error
        return True

    def _buffer_full(self) -> BufferFull:
        trouble = f" (last trouble: {self._last_trouble})" if self._last_trouble else ""
        return BufferFull(
            f"{self._tally.in_flight:,} events wait for Kafka and there was no room for another within"
            f" {self._limits.block_seconds_max:g} s{trouble}; the event was not taken: publish it again later"
        )

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                self._client.poll(POLL_SECONDS)
            except Exception:
                _log.exception("serving delivery reports failed; going on")
                self._stopped.wait(POLL_SECONDS)

    def _on_delivery(self, handle: PublishHandle, error: KafkaError | None, message: Message) -> None:
        outcome = _delivered(message) if error is None else translate(error, self._last_trouble)
        with self._changed:
            if isinstance(outcome, Delivered):
                self._tally.delivered += 1
                handle.resolve(outcome, None)
            else:
                self._tally.failed += 1
                self._last_failure = outcome
                self._unseen_failures += self._on_failure is None
                handle.resolve(outcome, self._failure_seen if self._on_failure is None else None)
            self._changed.notify_all()
        if not isinstance(outcome, Delivered):
            self._report(handle, outcome, message)

    def _report(self, handle: PublishHandle, error: AuditError, message: Message) -> None:
        if self._may_log("failure"):
            _log.error(
                "audit event %s was not delivered (%d so far): %s", handle.event_id, self._tally.failed, error
            )
        if self._on_failure is not None:
            try:
                self._on_failure(message.value() or b"", error)
            except Exception:
                _log.exception("on_error raised for audit event %s", handle.event_id)

    def _failure_seen(self) -> None:
        with self._changed:
            self._unseen_failures -= 1

    def _on_client_error(self, error: KafkaError) -> None:
        self._last_trouble = error.str()
        if error.fatal():
            _log.error("Kafka's client failed for good: %s", error.str())
            self._refuse(translate(error))
        elif self._may_log("trouble"):
            _log.warning("Kafka's client is in trouble: %s", error.str())

    def _may_log(self, kind: str) -> bool:
        now = time.monotonic()
        if now - self._logged_at.get(kind, -LOG_SECONDS_MIN) < LOG_SECONDS_MIN:
            return False
        self._logged_at[kind] = now
        return True

    def _refuse(self, reason: AuditError) -> None:
        with self._changed:
            self._refusal = self._refusal or reason
            self._changed.notify_all()


def _delivered(message: Message) -> Delivered:
    kind, millis = message.timestamp()
    time_of = None if kind == TIMESTAMP_NOT_AVAILABLE else datetime.fromtimestamp(millis / 1000, UTC)
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return Delivered(topic, partition, offset, time_of)

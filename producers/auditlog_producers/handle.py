"""The handle of one published event."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from uuid import UUID

from auditlog_producers.delivery import Delivered, DeliveryPending
from auditlog_schemas.errors import AuditError


class PublishHandle:
    """What becomes of one event that `publish` accepted. Any thread may use it.

    What is true once you hold it: the event is valid, has its sequence number and stands in this process's
    buffer, from which it is sent in the background. What is not yet: it is not in Kafka, and it is lost if
    the process is killed now. `result` returning is the proof that Kafka has it.

    Attributes:
        event_id: the event's id, by which the log knows it.
        account_id: the event's account, which is also its Kafka key.
        sequence: the number in its `source`.
    """

    __slots__ = ("_on_failure_seen", "_outcome", "_pending", "account_id", "event_id", "sequence")

    def __init__(self, event_id: UUID, account_id: str, sequence: int) -> None:
        self.event_id = event_id
        self.account_id = account_id
        self.sequence = sequence
        self._outcome: Delivered | AuditError | None = None
        self._on_failure_seen: Callable[[], None] | None = None
        # A bare lock that is held until the outcome is known costs a tenth of a threading.Event, and a
        # service makes one of these for each event.
        self._pending = Lock()
        self._pending.acquire()

    def done(self) -> bool:
        """Tell whether the outcome is known: delivered or failed."""
        return self._outcome is not None

    @property
    def error(self) -> AuditError | None:
        """Why delivery failed; None while it is pending and when it succeeded. Never blocks."""
        outcome = self._outcome
        if not isinstance(outcome, AuditError):
            return None
        # The outcome is known, so the lock is free; two threads that look must not both be the first.
        with self._pending:
            seen, self._on_failure_seen = self._on_failure_seen, None
        if seen is not None:
            seen()
        return outcome

    def result(self, timeout_seconds: float = 30.0) -> Delivered:
        """Wait for the outcome, at most `timeout_seconds`.

        Raises:
            DeliveryPending: not known yet; the event is still on its way, so do not publish it again.
            BrokerUnavailable: given up after the producer's delivery timeout, or at `close`.
            ConfigError: Kafka refuses it for a reason that an operator must remove, such as a missing topic.
            TerminalError: Kafka refuses it for another reason.
        """
        if not self._pending.acquire(timeout=max(0.0, timeout_seconds)):
            raise DeliveryPending(
                f"event {self.event_id} is not acknowledged after {timeout_seconds:g} s; it is still on its"
                " way: ask again later, do not publish it again"
            )
        self._pending.release()
        if isinstance(self._outcome, Delivered):
            return self._outcome
        error = self.error
        assert error is not None
        # A fresh copy, so that two waiting threads do not write their tracebacks into one exception.
        raise type(error)(*error.args) from error

    def resolve(self, outcome: Delivered | AuditError, on_failure_seen: Callable[[], None] | None) -> None:
        """Set the outcome; called once, by the producer.

        `on_failure_seen` is called once, when somebody looks at a failure for the first time.
        """
        self._on_failure_seen = on_failure_seen
        self._outcome = outcome
        self._pending.release()

    def __repr__(self) -> str:
        outcome = "pending" if self._outcome is None else repr(self._outcome)
        return f"<PublishHandle {self.event_id} {outcome}>"

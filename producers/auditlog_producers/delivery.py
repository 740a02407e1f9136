"""How the story of one published event ends: delivered, failed, or not known yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from auditlog_schemas.errors import AuditError, BrokerUnavailable
from auditlog_schemas.event import AuditEvent


@dataclass(frozen=True, slots=True)
class Delivered:
    """The event is in Kafka, on all in-sync replicas, once.

    It is not yet in ClickHouse: the consumer usually takes a second or two.

    Attributes:
        timestamp: the message's Kafka timestamp, which becomes `received_at`: the broker's clock when the
            topic has ``message.timestamp.type=LogAppendTime``, as it should. None if the broker sent none.
    """

    topic: str
    partition: int
    offset: int
    timestamp: datetime | None


@dataclass(frozen=True, slots=True)
class FailedDelivery:
    """An accepted event that was given up; handed to `on_error`.

    Not acknowledged does not mean not stored: the acknowledgement may have been lost. Sending it again with
    `AuditProducer.forward` loses nothing, but can store the event as two rows. They have one `event_id`, by
    which a reader tells that it is one event.

    Attributes:
        event: the event as it was sent: sensitive values redacted, `source` filled in.
        error: the reason: TransientError (send it again later) or TerminalError (something must be changed
            first).
    """

    event: AuditEvent
    error: AuditError


class DeliveryPending(BrokerUnavailable):
    """`PublishHandle.result` waited long enough; the event is still on its way and may yet arrive."""


class EventsUndelivered(AuditError):
    """`close` found events that are not known to be in Kafka and that nobody has been told about.

    Attributes:
        count: how many.
        last_error: why the last of them failed.
    """

    def __init__(self, count: int, last_error: AuditError | None) -> None:
        reason = f"the last because: {last_error}" if last_error else "no reason known"
        super().__init__(f"{count:,} audit events were accepted but not delivered; {reason}")
        self.count = count
        self.last_error = last_error

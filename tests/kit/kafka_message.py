"""A Kafka message that no Kafka has sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FakeMessage:
    """What the consumer uses of a message: `auditlog_consumer.messages.KafkaMessage`."""

    at: int
    body: bytes | None = b"x"
    millis: int = 0

    def value(self) -> bytes | None:
        """Return the body."""
        return self.body

    def key(self) -> bytes | None:
        """Return no key."""
        return None

    def offset(self) -> int:
        """Return the offset."""
        return self.at

    def timestamp(self) -> tuple[int, int]:
        """Return when the broker took it: in 1970, unless told otherwise."""
        return (2, self.millis)

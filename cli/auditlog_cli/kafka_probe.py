"""How far the log is behind Kafka, for the API, which may not know Kafka itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from auditlog_api.health import KafkaState
from auditlog_consumer.lag import lag
from auditlog_consumer.message_times import received_at

if TYPE_CHECKING:
    from auditlog_consumer.settings import ConsumerSettings
    from auditlog_storage.connection import Connection

OLDEST_SECONDS_MAX: Final = 3.0


class KafkaProbe:
    """Asks Kafka and the ledger; call it to know how they stand to each other.

    Args:
        settings: of the consumers.
        connection: to ClickHouse, for the ledger.
    """

    def __init__(self, settings: ConsumerSettings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection

    def __call__(self) -> KafkaState:
        """Return how many messages are not recorded yet, and up to when all are.

        Raises:
            AuditError: Kafka or ClickHouse does not answer.
        """
        began = datetime.now(UTC)
        behind = {at.partition: at for at in lag(self._settings, self._connection) if at.lag}
        if not behind:
            return KafkaState(0, began)
        positions = {number: at.next_offset for number, at in behind.items()}
        oldest = received_at(self._settings, positions, OLDEST_SECONDS_MAX)
        known = oldest.keys() == behind.keys()
        return KafkaState(sum(at.lag for at in behind.values()), min(oldest.values()) if known else None)

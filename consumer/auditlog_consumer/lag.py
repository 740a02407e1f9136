"""How far the ledger is behind Kafka."""

from __future__ import annotations

from dataclasses import dataclass

from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import Topics
from auditlog_storage.connection import Connection
from auditlog_storage.ledger import Ledger


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """`next_offset` is where the ledger continues, `end_offset` where Kafka's log ends.

    `next_offset` is Kafka's first offset for a partition that has no range yet.
    """

    partition: int
    next_offset: int
    end_offset: int

    @property
    def lag(self) -> int:
        """Return how many offsets are not recorded yet."""
        return max(self.end_offset - self.next_offset, 0)


def lag(settings: ConsumerSettings, connection: Connection) -> list[PartitionLag]:
    """Return every partition's lag.

    Raises:
        BrokerUnavailable, StorageUnavailable: one of them did not answer.
        ConfigError: there is no such topic.
    """
    topics = Topics(settings.kafka, settings.kafka_config)
    topic = topics.describe(settings.topic)
    ledger = Ledger(connection)
    found: list[PartitionLag] = []
    for number in range(topic.partitions):
        low, high = topics.ends(topic.name, number)
        known = ledger.next_offset(topic.topic_id, number)
        found.append(PartitionLag(number, low if known is None else known, high))
    return found

"""Where a partition starts: after the ledger's last range."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

import structlog

from auditlog_consumer.partition import Epoch, Partition
from auditlog_consumer.patience import persist
from auditlog_consumer.topics import TopicInfo
from auditlog_schemas.errors import BrokerUnavailable, TerminalError
from auditlog_storage.ledger import Ledger, Range

_log = structlog.get_logger("auditlog.consumer")


class Log(Protocol):
    """Tells which topic Kafka has and which offsets; `Topics` fits."""

    def find(self, topic: str) -> TopicInfo | None:
        """Return what Kafka says of a topic."""

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset and the offset after the last one."""


class Recovery:
    """Finds the offset from which a partition that was just assigned has to be read."""

    def __init__(self, ledger: Ledger, kafka: Log, group: str) -> None:
        self._ledger = ledger
        self._kafka = kafka
        self._group = group

    def start_offset(self, partition: Partition, epoch: Epoch) -> int:
        """Return the offset after the ledger's last range, or Kafka's first one for a new partition.

        Kafka's committed offset plays no part: any member may set it, the ledger is the truth. When
        retention deleted messages before they were read, a ``lost`` range is recorded and said loudly.

        Raises:
            TerminalError: the topic was deleted and made again, or its log ends before the ledger does: it
                is not the log that was recorded.
            EpochEnded: the partition was taken away meanwhile.
        """
        persist(epoch, f"identifying {partition}", lambda: self._require_same_topic(partition))
        known = persist(epoch, f"reading the ledger of {partition}", lambda: self._next_recorded(partition))
        low, high = persist(
            epoch,
            f"asking Kafka for the ends of {partition}",
            lambda: self._kafka.ends(partition.topic, partition.number),
        )
        if known is None:
            return low
        if high < known:
            raise TerminalError(
                f"{partition}: Kafka's log ends at offset {high}, the ledger is at {known}: Kafka "
                "lost acknowledged messages or was restored from a backup; "
                "see docs/operations.md, 'log behind ledger'"
            )
        if low > known:
            lost = self._lost(partition, known, low)
            persist(epoch, f"recording a loss in {partition}", lambda: self._ledger.append(lost))
            return low
        return known

    def _require_same_topic(self, partition: Partition) -> None:
        found = self._kafka.find(partition.topic)
        if found is None:
            raise BrokerUnavailable(f"Kafka has no topic {partition.topic!r} any more")
        if found.topic_id != partition.topic_id:
            raise TerminalError(
                f"topic {partition.topic} was deleted and made again: its id is {found.topic_id}, it was "
                f"{partition.topic_id}; see docs/operations.md, 'topic recreated'"
            )

    def _next_recorded(self, partition: Partition) -> int | None:
        return self._ledger.next_offset(partition.topic_id, partition.number)

    def _lost(self, partition: Partition, first: int, next_offset: int) -> Range:
        _log.error(
            "messages lost: Kafka's retention deleted them before they were read",
            partition=str(partition),
            first_offset=first,
            last_offset=next_offset - 1,
        )
        return Range(
            topic=partition.topic,
            topic_id=partition.topic_id,
            kafka_partition=partition.number,
            first_offset=first,
            last_offset=next_offset - 1,
            accepted=0,
            rejected=0,
            duplicates=0,
            absent=next_offset - first,
            consumer_group=self._group,
            recorded_at=datetime.now(UTC),
            kind="lost",
        )

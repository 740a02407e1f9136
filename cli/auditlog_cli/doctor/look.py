"""A look at every partition: where the ledger, Kafka's log, the group and its announcements are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditlog_consumer.group_state import Committed

if TYPE_CHECKING:
    from uuid import UUID

    from auditlog_consumer.group_state import GroupObserver
    from auditlog_consumer.log_ends import LogEnds
    from auditlog_storage.ledger import Ledger


@dataclass(frozen=True, slots=True)
class PartitionLook:
    """One partition at one moment.

    Attributes:
        number: the partition's.
        low, high: the first offset that Kafka still has, and the offset after the last one.
        next_offset: where the ledger goes on; None when it has no range yet, or was not asked.
        recorded_by: the consumer group of the ledger's last range.
        committed: what the group committed last.
        stable_high: the first offset of a transaction that is open, or `high`; None when nobody asked.
    """

    number: int
    low: int
    high: int
    next_offset: int | None = None
    recorded_by: str | None = None
    committed: Committed | None = None
    stable_high: int | None = None

    @property
    def position(self) -> int:
        """Return the first offset that is not recorded."""
        return self.low if self.next_offset is None else self.next_offset

    @property
    def trouble(self) -> str:
        """Return what stopped the partition; empty when nothing did."""
        return self.committed.trouble if self.committed else ""

    @property
    def is_held(self) -> bool:
        """Tell whether all that can be read is recorded, and a transaction that is open holds the rest."""
        return self.stable_high is not None and self.stable_high <= self.position < self.high

    @property
    def lag(self) -> int:
        """Return how many offsets are not recorded."""
        return max(self.high - self.position, 0)


def look(
    ends: LogEnds, observer: GroupObserver, ledger: Ledger | None, topic: str, topic_id: UUID, count: int
) -> list[PartitionLook]:
    """Look at the partitions 0 to `count`, without; a ledger that is away is left out.

    Raises:
        AuditError: Kafka or the ledger does not answer.
    """
    numbers = range(count)
    # The ledger first: what is stored meanwhile then looks like lag, and never like a lost log.
    furthest = {number: ledger.furthest(topic_id, number) if ledger else None for number in numbers}
    committed = observer.committed(numbers)
    lows, highs = ends.lows(topic, numbers), ends.highs(topic, numbers)
    stable = ends.stable_highs(topic, numbers)
    return [
        PartitionLook(
            number,
            lows[number],
            highs[number],
            last.next_offset if (last := furthest[number]) else None,
            last.consumer_group if last else None,
            committed.get(number),
            stable[number],
        )
        for number in numbers
    ]


def moved(before: Sequence[PartitionLook], after: Sequence[PartitionLook]) -> set[int]:
    """Return the partitions of which something was recorded between two looks."""
    return {then.number for then, now in zip(before, after, strict=True) if now.position > then.position}

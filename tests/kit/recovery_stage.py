"""Recovery in a made world: what Kafka, ClickHouse and the group say is set by the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pyarrow as pa

from auditlog_consumer.identity import TopicIdentity
from auditlog_consumer.intent import Intent
from auditlog_consumer.partition import Epoch, Partition
from auditlog_consumer.recovery import Recovery
from auditlog_consumer.runtime import Flag, Threads
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.start import Start
from auditlog_consumer.window import keys_of
from auditlog_schemas.errors import BrokerUnavailable, StorageUnavailable
from auditlog_storage.ledger import Range

TOPIC_ID: Final = UUID(int=7)
PARTITION: Final = Partition("audit.events", TOPIC_ID, 3)
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
SESSION: Final = 30.0


def recorded(first: int, last: int, group: str = "auditlog") -> Range:
    count = last - first + 1
    return Range(PARTITION.topic, TOPIC_ID, 3, first, last, count, 0, 0, 0, group, NOON)


def intent(first: int, last: int, window: int = 100, seconds: float = -60.0) -> Intent:
    """Return an intent whose insert may begin until so many seconds after noon."""
    deadline = NOON + timedelta(seconds=seconds)
    return Intent(TOPIC_ID, first, last, window, int(deadline.timestamp() * 1_000))


def event_id(offset: int) -> bytes:
    return UUID(int=offset + 1).bytes


class RecordedWaits:
    """A flag that is never set unless told, and remembers who waited how long."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.ended = False

    def set(self) -> None:
        self.ended = True

    def is_set(self) -> bool:
        return self.ended

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.ended


@dataclass
class World:
    """What Kafka, ClickHouse and the group say.

    Attributes:
        topic_ids: what the topic's id is, at each question; the last one stays.
        furthest_range, appended: the ledger, and what is recorded there.
        stored: the offsets of the rows, once for each row.
        then_low: what Kafka's log begins with once a loss was recorded.
        moves_ledger_to: what another member records when we announce.
        at_announcement: called when we have announced.
        claimed_by: the group that records the topic; None for ours.
        committed: the group's offset and metadata.
        pages: the ranges for which ids were asked.
        failing: each question fails once at first.
        asked: the questions.
    """

    low: int = 0
    high: int = 1_000
    topic_ids: list[UUID | None] = field(default_factory=lambda: [TOPIC_ID])
    furthest_range: Range | None = None
    stored: list[int] = field(default_factory=list)
    then_low: int = 0
    moves_ledger_to: Range | None = None
    at_announcement: Callable[[], None] = lambda: None
    claimed_by: str | None = None
    committed: tuple[int, str] | None = None
    appended: list[Range] = field(default_factory=list)
    pages: list[tuple[int, int]] = field(default_factory=list)
    failing: bool = False
    asked: list[str] = field(default_factory=list)

    def _fails(self, what: str, error: Exception) -> None:
        self.asked.append(what)
        if self.failing and self.asked.count(what) == 1:
            raise error

    def identify(self, topic: str) -> UUID | None:
        self._fails("identify", BrokerUnavailable("away"))
        assert topic == PARTITION.topic
        return self.topic_ids[0] if len(self.topic_ids) == 1 else self.topic_ids.pop(0)

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        self._fails("ends", BrokerUnavailable("away"))
        assert (topic, partition) == ("audit.events", 3)
        return self.low, self.high

    def announced(self, partition: int) -> tuple[int, str] | None:
        assert partition == 3
        self._fails("announced", BrokerUnavailable("away"))
        return self.committed

    def furthest(self, topic_id: UUID, partition: int) -> Range | None:
        self._fails("furthest", StorageUnavailable("away"))
        assert (topic_id, partition) == (TOPIC_ID, 3)
        return self.furthest_range

    def next_offset(self, topic_id: UUID, partition: int) -> int | None:
        found = self.furthest(topic_id, partition)
        return found.next_offset if found else None

    def claim(self, topic_id: UUID, group: str, takes_over: str | None, now: datetime) -> str:  # noqa: ARG002
        self._fails("claim", StorageUnavailable("away"))
        return self.claimed_by or group

    def append(self, range: Range, deadline: datetime | None = None) -> None:
        self._fails("append", StorageUnavailable("away"))
        assert deadline is not None, "a process that stood still must not record long after"
        assert self.committed is not None, "it was announced"
        intent = Intent.from_metadata(self.committed[1])
        assert intent is not None
        assert intent.first == range.first_offset
        assert intent.last >= range.last_offset
        self.low = max(self.low, self.then_low)
        self.appended.append(range)
        self.furthest_range = range

    def highest_offset(self, topic_id: UUID, partition: int, first: int = 0) -> int | None:
        self._fails("highest_offset", StorageUnavailable("away"))
        assert (topic_id, partition) == (TOPIC_ID, 3)
        return max((offset for offset in self.stored if offset >= first), default=None)

    def count(self, topic_id: UUID, partition: int, first: int, last: int) -> int:
        self._fails("count", StorageUnavailable("away"))
        assert (topic_id, partition) == (TOPIC_ID, 3)
        return len({offset for offset in self.stored if first <= offset <= last})

    def recent_ids(self, topic_id: UUID, partition: int, first: int, last: int) -> pa.Table:
        self._fails("recent_ids", StorageUnavailable("away"))
        assert (topic_id, partition) == (TOPIC_ID, 3)
        self.pages.append((first, last))
        offsets = sorted(offset for offset in self.stored if first <= offset <= last)
        return pa.table(
            {
                "kafka_offset": pa.array(offsets, pa.int64()),
                "account_id": pa.array(["acc_1"] * len(offsets), pa.string()),
                "event_id": pa.array([event_id(offset) for offset in offsets], pa.binary(16)),
            }
        )

    def engine_now(self) -> datetime:
        self._fails("engine_now", StorageUnavailable("away"))
        return NOON

    def announce(self, epoch: Epoch, partition: int, next_offset: int, metadata: str) -> None:
        epoch.require_open()
        self._fails("announce", BrokerUnavailable("away"))
        assert partition == 3
        self.committed = (next_offset, metadata)
        self.furthest_range, self.moves_ledger_to = self.moves_ledger_to or self.furthest_range, None
        self.at_announcement()

    def leader_epoch(self, partition: int, next_offset: int) -> int:  # noqa: ARG002
        return -1

    def announces(self, intent: Intent) -> None:
        """Be what the last owner left."""
        self.committed = (intent.first, intent.to_metadata())


class Stage:
    """Recovery in a made world."""

    def __init__(self) -> None:
        self.world = World()
        self.waits = RecordedWaits()
        given = {"window_offsets": 100, "session_timeout_seconds": SESSION}
        self.settings = ConsumerSettings.load(kafka="none:1", group="auditlog", **given)

    def recover(self, ended: Flag | None = None) -> Start:
        """Recover the partition, in an epoch that ends with this flag."""
        world: Any = self.world
        runtime = Threads()
        identity = TopicIdentity(world, PARTITION.topic, TOPIC_ID, runtime.monotonic)
        made = Recovery(self.settings, world, world, world, world, world, identity, world, runtime)
        return made.start(PARTITION, Epoch(ended or self.waits))


def plan(start: Start) -> tuple[int, Intent | None, int]:
    """Return where it starts, what is replayed, and up to which offset rows are read before an insert."""
    return start.offset, start.replay, max(start.offset, start.stored_until)


def known(start: Start, offsets: list[int], reach: int) -> list[int]:
    """Return which of these offsets' events the window knows within so many offsets."""
    keys = keys_of(
        pa.array(["acc_1"] * len(offsets)), pa.array([event_id(offset) for offset in offsets], pa.binary(16))
    )
    found = start.window.duplicates(keys, start.offset, reach).tolist()
    return [offset for offset, copy in zip(offsets, found, strict=True) if copy]

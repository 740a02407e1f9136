"""Where a partition starts: after the ledger's last range, with what was announced or stored beyond it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import structlog

from auditlog_consumer import metrics
from auditlog_consumer.announcement import Announcement, Announcer
from auditlog_consumer.engine_clock import EngineClock
from auditlog_consumer.identity import TopicIdentity
from auditlog_consumer.intent import Intent
from auditlog_consumer.partition import Epoch, Partition
from auditlog_consumer.patience import persist
from auditlog_consumer.runtime import Runtime
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.start import Start
from auditlog_consumer.window import Window, keys_of
from auditlog_schemas.errors import ConfigError, TerminalError
from auditlog_storage.claims import Claims
from auditlog_storage.ledger import Ledger, Range
from auditlog_storage.stored import StoredRows
from auditlog_storage.writer import EventWriter

WINDOW_PAGE_OFFSETS: Final = 250_000

T = TypeVar("T")
_log = structlog.get_logger("auditlog.consumer")


class Log(Protocol):
    """Tells which offsets Kafka has; `Topics` fits."""

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset and the offset after the last one."""


class Group(Announcer, Protocol):
    """Tells what the group's last owner announced, and announces; `GroupMember` fits."""

    def announced(self, partition: int) -> tuple[int, str] | None:
        """Return the committed offset and its metadata."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Where the ledger ends, up to where something is announced or stored, and where Kafka's log begins."""

    recorded: int | None
    offset: int
    until: int
    intent: Intent | None
    low: int


class Recovery:
    """Finds out where a partition that was just assigned starts, and how. Thread-safe."""

    def __init__(
        self,
        settings: ConsumerSettings,
        ledger: Ledger,
        claims: Claims,
        stored: StoredRows,
        writer: EventWriter,
        kafka: Log,
        identity: TopicIdentity,
        group: Group,
        runtime: Runtime,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._claims = claims
        self._stored = stored
        self._writer = writer
        self._kafka = kafka
        self._identity = identity
        self._group = group
        self._runtime = runtime

    @metrics.RECOVERY_SECONDS.time()
    def start(self, partition: Partition, epoch: Epoch) -> Start:
        """Return the start: the offset after the ledger's last range, or Kafka's first one.

        Kafka's committed offset does not move it: any member may set it, the ledger is the truth. What the
        last owner announced beyond the ledger is replayed exactly as announced; what is stored beyond it is
        read back before anything is inserted there. When retention deleted messages before they were
        recorded, a ``lost`` range is recorded and said loudly, and the start is looked for anew.

        Raises:
            ConfigError: the topic was deleted and made again, or another group works on this table.
            TerminalError: Kafka's log ends before what was recorded, announced or stored: it is not the log
                we know.
            EpochEnded: the partition was taken away meanwhile.
        """

        ask = partial(_ask, epoch, partition)
        ask("checking the identity", lambda _: self._identity.confirm(self._runtime.monotonic()))
        clock = EngineClock(self._writer.engine_now, self._runtime.monotonic)
        found = self._look(partition, ask)
        ask("reading ClickHouse's clock", lambda _: clock.read())
        if found.intent is not None:
            self._outlast(partition, found.intent, clock, epoch)
        while found.low > found.offset:
            ask("recording a loss", partial(self._record_loss, epoch=epoch, clock=clock, found=found))
            found = self._look(partition, ask)
        offset, intent = found.offset, found.intent
        replay = intent if intent is not None and intent.first == offset else None
        size = max(self._settings.window_offsets, intent.window if intent else 0)
        window = Window(size)
        for first in range(max(0, offset - size), offset, WINDOW_PAGE_OFFSETS):
            last = min(first + WINDOW_PAGE_OFFSETS, offset) - 1
            ask("filling the window", partial(self._fill, window=window, first=first, last=last))
        return Start(offset, replay, found.until, window, clock)

    def _look(self, partition: Partition, ask: Callable[[str, Callable[[Partition], Any]], Any]) -> _Found:
        """Ask in this order: what the last owner still does between two questions must not look wrong."""
        committed = ask("asking for what was announced", lambda at: self._group.announced(at.number))
        furthest: Range | None = ask("reading the ledger", self._furthest)
        recorded = furthest.next_offset if furthest else None
        intent = _pending(partition, committed, recorded)
        first = recorded if recorded is not None else intent.first if intent else 0
        until: int = ask("looking for rows beyond the ledger", partial(self._stored_until, first=first))
        low, high = ask("asking Kafka for the ends", self._ends)
        # An intent may show that retention has passed a beginning that was never recorded; it skips nothing.
        offset = recorded if recorded is not None else min(low, intent.first) if intent else low
        if intent is not None:
            until = max(until, intent.last + 1)
        if committed is not None and committed[0] > offset:
            metrics.ALARMS.labels("committed_beyond_ledger").inc()
            _log.error(
                "Kafka's committed offset is beyond the ledger; starting from the ledger",
                partition=str(partition),
                committed_offset=committed[0],
                offset=offset,
            )
        known = max(offset, until)
        if high < known:
            raise TerminalError(
                f"{partition}: Kafka's log ends at offset {high}, {known} was recorded, announced or stored: "
                "Kafka lost acknowledged messages or was restored from a backup; "
                "see docs/operations.md, 'log behind ledger'"
            )
        return _Found(recorded, offset, until, intent, low)

    def _furthest(self, partition: Partition) -> Range | None:
        furthest = self._ledger.furthest(partition.topic_id, partition.number)
        ours, takes_over = self._settings.group, self._settings.takes_over_group
        # The first one of a topic cannot be told by its ranges.
        owner = (
            furthest.consumer_group
            if furthest
            else self._claims.claim(partition.topic_id, ours, takes_over, self._runtime.now())
        )
        if owner not in (ours, takes_over):
            raise ConfigError(
                f"{partition} is recorded by consumer group {owner!r}, this is group "
                f"{ours!r}, and two groups on one table would store everything twice; "
                "see docs/operations.md, 'another consumer group'"
            )
        return furthest

    def _ends(self, partition: Partition) -> tuple[int, int]:
        return self._kafka.ends(partition.topic, partition.number)

    def _stored_until(self, partition: Partition, first: int) -> int:
        highest = self._stored.highest_offset(partition.topic_id, partition.number, first)
        return first if highest is None else highest + 1

    def _outlast(self, partition: Partition, intent: Intent, clock: EngineClock, epoch: Epoch) -> None:
        """Wait until the announced insert has either become visible or cannot begin any more.

        After a crash that is long over: Kafka gave us the partition only when the last owner's session had
        ended. It takes a while when the last owner left in good order but for an insert without an answer.
        """
        over = intent.deadline_millis / 1000 + self._settings.insert_seconds_max
        left = min(over - clock.now().timestamp(), self._settings.session_timeout_seconds)
        if left > 0:
            _log.info(
                "waiting until an announced insert is over",
                partition=str(partition),
                first_offset=intent.first,
                last_offset=intent.last,
                seconds=round(left, 1),
            )
            epoch.pause(left)

    def _record_loss(self, partition: Partition, epoch: Epoch, clock: EngineClock, found: _Found) -> None:
        """Record that messages are lost, as a batch is recorded: announced, and under a deadline.

        Whoever stood still since the ledger was read records nothing: it has moved on, or cannot announce.
        """
        settings, first, last = self._settings, found.offset, found.low - 1
        # What the last owner announced beyond the loss is still announced.
        until = max(found.low, found.until) - 1
        about = Announcement(
            partition, epoch, first, until, settings.window_offsets, settings.insert_seconds_max
        )
        # Anew, or a wrong one would let every try come too late.
        clock.read()
        deadline = about.make(self._group, clock)
        if self._ledger.next_offset(partition.topic_id, partition.number) != found.recorded:
            return
        lost = self._lost(partition, first, last)
        epoch.require()
        self._ledger.append(lost, deadline)
        _log.error(
            "messages lost: Kafka's retention deleted them before they were recorded",
            partition=str(partition),
            first_offset=first,
            last_offset=last,
        )
        metrics.lost(lost)

    def _lost(self, partition: Partition, first: int, last: int) -> Range:
        # An owner that died before it could record them may have stored some.
        stored = self._stored.count(partition.topic_id, partition.number, first, last)
        return Range(
            topic=partition.topic,
            topic_id=partition.topic_id,
            kafka_partition=partition.number,
            first_offset=first,
            last_offset=last,
            accepted=stored,
            rejected=0,
            duplicates=0,
            absent=last - first + 1 - stored,
            consumer_group=self._settings.group,
            recorded_at=self._runtime.now(),
            kind="lost",
        )

    def _fill(self, partition: Partition, window: Window, first: int, last: int) -> None:
        rows = self._stored.recent_ids(partition.topic_id, partition.number, first, last).combine_chunks()
        for batch in rows.to_batches():
            keys = keys_of(batch.column("account_id"), batch.column("event_id"))
            window.extend(keys, batch.column("kafka_offset").to_numpy(), first, last)


def _ask(epoch: Epoch, partition: Partition, what: str, question: Callable[[Partition], T]) -> T:
    return persist(epoch, what, partial(question, partition), partition=str(partition))


def _pending(partition: Partition, committed: tuple[int, str] | None, recorded: int | None) -> Intent | None:
    """Return what was announced and is not recorded, if the committed offset says so."""
    intent = Intent.from_metadata(committed[1]) if committed and committed[1] else None
    if intent is None or intent.topic_id != partition.topic_id:
        return None
    return intent if recorded is None or intent.last >= recorded else None

"""Whether every partition moves on; if one does not, who has it, what was announced, and what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from auditlog_cli.doctor.bounds import bounds, identity, retention
from auditlog_cli.doctor.diagnosis import Diagnosis
from auditlog_cli.doctor.kafka import listed
from auditlog_cli.doctor.look import PartitionLook, look, moved
from auditlog_cli.doctor.stuck import Circumstances, announced, explain, messages_wait

if TYPE_CHECKING:
    from auditlog_consumer.group_state import GroupState
    from auditlog_consumer.settings import ConsumerSettings
    from auditlog_consumer.topics import TopicInfo
    from auditlog_storage.connection import Connection

LOOK_PAUSE_SECONDS: Final = 2.0
WATCHED_SECONDS_MAX: Final = 8.0
OLDEST_SECONDS_MAX: Final = 3.0
EXPLAINED_MAX: Final = 10


def diagnose_progress(
    settings: ConsumerSettings, connection: Connection | None, trouble: Sequence[str]
) -> Iterator[Diagnosis]:
    """Look at the group, the ledger and every partition, twice when something waits.

    Args:
        settings: of the consumers.
        connection: None when ClickHouse is away: then Kafka's committed offsets have to do.
        trouble: names of what was found to be wrong before.

    Raises:
        AuditError: Kafka or ClickHouse went away meanwhile.
    """
    from auditlog_consumer.group_state import GroupObserver
    from auditlog_consumer.log_ends import LogEnds
    from auditlog_consumer.topics import Topics
    from auditlog_storage.ledger import Ledger

    topic = Topics(settings.kafka, settings.kafka_config).find(settings.topic)
    if topic is None:
        return
    topic_id, count = topic.topic_id, topic.partitions
    ends = LogEnds(settings.kafka, settings.kafka_config)
    ledger = Ledger(connection) if connection is not None else None
    troubles = list(trouble)
    with GroupObserver(settings) as observer:

        def again() -> list[PartitionLook]:
            return look(ends, observer, ledger, settings.topic, topic_id, count)

        first = again()
        state = observer.state()
        yield _consumers(settings, state, topic, any(one.lag for one in first))
        if connection is None:
            yield _unrecorded(first, datetime.now(UTC))
            return
        for diagnosis in identity(settings, topic, first, connection):
            troubles.append(diagnosis.name)
            yield diagnosis
        troubles += ["Kafka's log"] if any(one.high < one.position for one in first) else []
        yield from bounds(first)
        began = time.monotonic()
        last, lagging = first, {one.number for one in first if one.lag}
        while lagging - moved(first, last) and time.monotonic() - began < WATCHED_SECONDS_MAX:
            time.sleep(LOOK_PAUSE_SECONDS)
            last = again()
            lagging = {one.number for one in last if one.lag}
        seconds = time.monotonic() - began
        state = observer.state()
    now = _engine_now(connection)
    oldest = _oldest(settings, last) if lagging else {}
    around = Circumstances(
        settings.group, state, now, seconds, settings.session_timeout_seconds, tuple(troubles)
    )
    yield from retention(topic, last, oldest, now)
    yield from progress_of(first, last, oldest, around)


def _consumers(
    settings: ConsumerSettings, state: GroupState, topic: TopicInfo, is_lagging: bool
) -> Diagnosis:
    group = f"group {settings.group!r}"
    if not state.members:
        hint = "start one: `auditlog consume`"
        return Diagnosis("consumers", "wrong" if is_lagging else "note", f"none in {group}", hint)
    having = [f"{one} has {listed(sorted(one.partitions)) or 'none'}" for one in state.members]
    more = f"; and {len(having) - EXPLAINED_MAX} more" if len(having) > EXPLAINED_MAX else ""
    found = f"{len(having)} in {group}: {'; '.join(having[:EXPLAINED_MAX])}{more}"
    without = [number for number in range(topic.partitions) if state.owner(number) is None]
    if without and not state.is_changing:
        return Diagnosis(
            "consumers", "note", f"{found}; nobody has {listed(without)}", "look again; then restart one"
        )
    return Diagnosis("consumers", "ok", found + ("; partitions are being divided" if without else ""))


def _unrecorded(looks: Sequence[PartitionLook], now: datetime) -> Diagnosis:
    """Say what Kafka alone knows: how far the committed offsets are, and what is announced."""
    behind = sum(max(one.high - (one.committed.offset if one.committed else one.low), 0) for one in looks)
    open_ones = [f"partition {one.number}: {announced(one, now)}" for one in looks if _has_announced(one)]
    shown = "".join(f"; {text}" for text in open_ones[:EXPLAINED_MAX])
    found = f"the ledger cannot be asked; by Kafka's committed offsets {messages_wait(behind)}{shown}"
    return Diagnosis("lag", "wrong" if behind else "note", found, "bring ClickHouse back: see above")


def _has_announced(one: PartitionLook) -> bool:
    return one.committed is not None and one.committed.intent is not None


def progress_of(
    first: Sequence[PartitionLook],
    last: Sequence[PartitionLook],
    oldest: dict[int, datetime],
    around: Circumstances,
) -> Iterator[Diagnosis]:
    """Say how much waits, and why each partition waits that does not move.

    Args:
        first, last: two looks at the same partitions.
        oldest: when Kafka received the first message that waits, where that is known.
        around: what holds for all partitions.
    """
    waiting = sum(one.lag for one in last)
    if not waiting:
        yield Diagnosis("lag", "ok", "none: everything in Kafka is accounted for")
        return
    done = sum(now.position - then.position for then, now in zip(first, last, strict=True))
    moving = moved(first, last)
    # With a backlog an owner reads its partitions by turns: one that moves vouches for its others.
    at_work = {owner for number in moving if (owner := around.state.owner(number)) is not None}
    idle = [one for one in last if one.lag and one.number not in moving]
    stuck = [
        one for one in idle if one.trouble or one.is_held or around.state.owner(one.number) not in at_work
    ]
    rate = f"{done / max(around.watched_seconds, 0.1):,.0f}/s are done"
    if not stuck:
        turns = f"; {listed([one.number for one in idle])} wait for their turn" if idle else ""
        yield Diagnosis("lag", "ok", f"{messages_wait(waiting)}, {rate}{turns}")
        return
    found = f"{messages_wait(waiting)}, {rate if done else 'none are done'}"
    numbers = listed([one.number for one in stuck])
    yield Diagnosis("lag", "wrong", f"{found}; partitions {numbers} do not move", "one by one below")
    for one in stuck[:EXPLAINED_MAX]:
        yield explain(one, oldest.get(one.number), around)


def _oldest(settings: ConsumerSettings, looks: Sequence[PartitionLook]) -> dict[int, datetime]:
    from auditlog_consumer.message_times import received_at

    waiting = {one.number: max(one.position, one.low) for one in looks if one.lag}
    return received_at(settings, waiting, OLDEST_SECONDS_MAX)


def _engine_now(connection: Connection) -> datetime:
    from auditlog_storage.writer import EventWriter

    return EventWriter(connection).engine_now()

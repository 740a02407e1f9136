"""Whether ledger and log fit together: the same topic, the same group, neither ahead, retention far off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from auditlog_cli.doctor.diagnosis import Diagnosis
from auditlog_cli.doctor.look import PartitionLook

if TYPE_CHECKING:
    from auditlog_consumer.settings import ConsumerSettings
    from auditlog_consumer.topics import TopicInfo
    from auditlog_storage.connection import Connection

_OTHER_IDS: Final = """
    SELECT topic_id, max(recorded_at) FROM audit_ranges FINAL WHERE topic = {topic:String} GROUP BY topic_id
"""


def identity(
    settings: ConsumerSettings, topic: TopicInfo, looks: Sequence[PartitionLook], connection: Connection
) -> Iterator[Diagnosis]:
    """Compare whom and what the ledger is about with what is there now; says nothing when it fits."""
    recorded = {str(id): last for id, last in connection.query_rows(_OTHER_IDS, {"topic": topic.name})}
    last = recorded.pop(str(topic.topic_id), None)
    if recorded and last is None:
        yield Diagnosis(
            "topic id",
            "wrong",
            f"Kafka's {topic.name} is {topic.topic_id}, of which nothing is recorded; the ledger knows "
            f"{', '.join(sorted(recorded))}",
            "the topic was deleted and made again: restart the consumers; "
            "see docs/operations.md, 'topic recreated'",
        )
    ours = (settings.group, settings.takes_over_group)
    foreign = sorted({one.recorded_by for one in looks if one.recorded_by and one.recorded_by not in ours})
    if foreign:
        yield Diagnosis(
            "group",
            "wrong",
            f"the ledger is group {', '.join(map(repr, foreign))}'s, this is {settings.group!r}",
            "set AUDITLOG_GROUP to it, or take over; see docs/operations.md, 'another consumer group'",
        )


def bounds(looks: Sequence[PartitionLook]) -> Iterator[Diagnosis]:
    """Compare the ledger with where Kafka's log begins and ends, and with the committed offsets."""
    for one in looks:
        name = f"partition {one.number}"
        if one.high < one.position:
            yield Diagnosis(
                name,
                "wrong",
                f"Kafka's log ends at offset {one.high}, the ledger is at {one.position}",
                "Kafka lost messages; see docs/operations.md, 'log behind ledger'",
            )
        if one.next_offset is not None and one.low > one.next_offset:
            yield Diagnosis(
                name,
                "wrong",
                f"offsets {one.next_offset}-{one.low - 1} are gone: deleted before they were recorded",
                "start a consumer before more is deleted; see docs/operations.md, 'retention overtook us'",
            )
        if one.next_offset is not None and one.committed and one.committed.offset > one.next_offset:
            yield Diagnosis(
                name,
                "note",
                f"committed offset {one.committed.offset} is beyond the ledger's {one.next_offset}",
                "harmless, the ledger decides; see docs/operations.md, 'group offsets reset'",
            )


def retention(
    topic: TopicInfo, looks: Sequence[PartitionLook], oldest: Mapping[int, datetime], now: datetime
) -> Iterator[Diagnosis]:
    """Warn when messages that wait will soon be deleted, by their age or by the size of the log."""
    kept_seconds = topic.retention_millis / 1000
    advice = (
        f"raise retention.ms of {topic.name} now, then let the consumers catch up; "
        "see docs/operations.md, 'retention overtook us'"
    )
    ages = {number: (now - received).total_seconds() for number, received in oldest.items()}
    if topic.retention_millis >= 0 and ages and max(ages.values()) > kept_seconds / 2:
        number = max(ages, key=lambda each: ages[each])
        left = max(kept_seconds - ages[number], 0)
        found = (
            f"partition {number}: messages are kept for {kept_seconds / 3600:,.1f} h, "
            f"the first that waits may be deleted in {left / 3600:,.1f} h"
        )
        yield Diagnosis("retention", "wrong" if left < kept_seconds / 5 else "note", found, advice)
        return
    near = [
        one for one in looks if one.low and one.lag and one.position - one.low < (one.high - one.low) // 10
    ]
    if near:
        one = min(near, key=lambda each: each.position - each.low)
        found = f"partition {one.number}: {one.position - one.low:,} messages before Kafka's first one"
        yield Diagnosis("retention", "note", found, advice)

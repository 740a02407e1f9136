"""What Kafka says of the topic, beside what the ledger says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from auditlog_consumer.check.recorded import Span
from auditlog_consumer.check.report import Kind, Report
from auditlog_consumer.topics import TopicInfo, Topics


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as Kafka had it at one moment; `ends` is (first, after the last) by partition."""

    at: datetime
    info: TopicInfo | None
    ends: Mapping[int, tuple[int, int]]


def look_at(topics: Topics, topic: str) -> TopicState:
    """Ask Kafka for a topic.

    Raises:
        BrokerUnavailable: Kafka did not answer.
    """
    at = datetime.now(UTC)
    info = topics.find(topic)
    numbers = range(info.partitions) if info else ()
    return TopicState(at, info, {number: topics.ends(topic, number) for number in numbers})


def compare(report: Report, before: TopicState, after: TopicState, spans: Sequence[Span]) -> None:
    """Add what contradicts the ledger.

    Args:
        report: where findings go.
        before, after: the topic as it was before and after the ledger was asked, so that what moves
            meanwhile is no contradiction.
        spans: what the ledger covers.
    """
    if before.info is None or after.info is None or before.info.topic_id != after.info.topic_id:
        if spans:
            report.add(
                "warning", "topic_recreated", "Kafka does not have the topic: nothing of it is compared"
            )
        return
    topic_id = after.info.topic_id
    _compare_identity(report, topic_id, spans)
    for span in spans:
        if span.topic_id != topic_id:
            continue
        _, high = after.ends.get(span.partition, (0, 0))
        if high <= span.last:
            message = f"Kafka's log ends at offset {high}, the ledger is at {span.last + 1}"
            _error(report, "log_behind_ledger", message, span, high, span.last)
        low, _ = before.ends.get(span.partition, (0, 0))
        if low > span.last + 1:
            message = (
                "Kafka's retention deleted these before they were read; the consumer will record the loss"
            )
            _error(report, "retention_overtook", message, span, span.last + 1, low - 1)


def _error(report: Report, kind: Kind, message: str, span: Span, first: int, last: int) -> None:
    report.add(
        "error", kind, message, topic_id=span.topic_id, partition=span.partition, first=first, last=last
    )


def _compare_identity(report: Report, topic_id: UUID, spans: Sequence[Span]) -> None:
    others = sorted({str(span.topic_id) for span in spans if span.topic_id != topic_id})
    if not others:
        return
    current = any(span.topic_id == topic_id for span in spans)
    message = (
        f"the topic was deleted and made again: its id is {topic_id}, the ledger also has "
        if current
        else f"the topic was deleted and made again: its id is {topic_id}, the ledger only has "
    )
    report.add("note" if current else "warning", "topic_recreated", message + ", ".join(others))


def settled_before(
    state: TopicState, spans: Sequence[Span], received: Mapping[tuple[UUID, int], datetime]
) -> datetime | None:
    """Return the time before which every message that Kafka received has been consumed.

    Args:
        state: the topic before the ledger was asked.
        spans: what the ledger covers.
        received: the latest time of receipt of a stored row, by topic id and partition.

    Returns:
        None when that cannot be told: Kafka has no such topic, or a partition that was never read.
    """
    if state.info is None:
        return None
    covered = {span.partition: span for span in spans if span.topic_id == state.info.topic_id}
    settled = state.at
    for number, (low, high) in state.ends.items():
        span = covered.get(number)
        if high == low or (span is not None and span.last + 1 >= high):
            continue
        latest = received.get((state.info.topic_id, number))
        if span is None or latest is None:
            return None
        settled = min(settled, latest)
    return settled

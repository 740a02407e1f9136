"""What a repair would do: a step for each finding, or what an operator has to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias
from uuid import UUID

import numpy as np

from auditlog_consumer.check import Finding, Report, check
from auditlog_consumer.check.letter_offsets import LetterOffsets
from auditlog_consumer.check.letters import read_letters
from auditlog_consumer.check.recorded import Recorded, Span, pages
from auditlog_consumer.check.stored_offsets import StoredOffsets
from auditlog_consumer.judge import Judge
from auditlog_consumer.partition import Partition
from auditlog_consumer.repair.advice import ADVICE, DIFFERING_COPIES, OTHER_TOPIC
from auditlog_consumer.repair.broken_range import Evidence, Mending, RangeReader, mend
from auditlog_consumer.repair.known_ids import KnownIds
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import TopicInfo, Topics
from auditlog_storage.connection import Connection
from auditlog_storage.removals import OFFSETS_PER_STEP, Removals

Action: TypeAlias = Literal["apply_mask", "remove_copies", "store", "dead_letter", "explain"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, or, when the action is ``explain``, to be done by an operator.

    Attributes:
        count: how many rows or letters it is about.
        text: what it does, or what the operator has to do.
        offsets: of the messages to store or to dead-letter.
    """

    action: Action
    topic_id: str
    partition: int
    first_offset: int
    last_offset: int
    count: int
    text: str
    offsets: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a repair, in the order in which they are to be taken."""

    steps: list[Step] = field(default_factory=list)
    errors: int = 0

    @property
    def can_mend(self) -> bool:
        """Tell whether there is a step that a repair can take."""
        return any(step.action != "explain" for step in self.steps)


def make_plan(
    connection: Connection, settings: ConsumerSettings, judge: Judge, partition: int | None = None
) -> Plan:
    """Check the log, or one partition, and say what can be done about the errors.

    Changes nothing. Reads the messages of broken ranges from Kafka without joining a group.

    Raises:
        StorageUnavailable, BrokerUnavailable, RegistryUnavailable: something did not answer.
        ConfigError: a setting or a catalog file is wrong.
    """
    report = check(connection, settings, partition, warnings=False)
    return Plan(list(_Planner(connection, settings, judge, report).steps()), report.errors)


class _Planner:
    def __init__(
        self, connection: Connection, settings: ConsumerSettings, judge: Judge, report: Report
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._judge = judge
        self._findings = [each for each in report.findings if each.severity == "error"]
        self._topics = Topics(settings.kafka, settings.kafka_config)
        stale = (each for each in self._findings if each.kind == "stale_projection")
        self._stale = {(each.topic_id, each.partition) for each in stale}

    def steps(self) -> Iterator[Step]:
        if self._stale:
            text = "remove from the projection by_offset what was deleted from the table"
            yield Step("apply_mask", "", -1, -1, -1, len(self._stale), text)
        for span in _joined(each for each in self._findings if each.kind == "stored_twice"):
            yield from self._copies(span)
        for finding in self._findings:
            if finding.kind in ADVICE:
                yield _step("explain", finding, 0, ADVICE[finding.kind])
        yield from self._ranges()

    def _copies(self, finding: Finding) -> Iterator[Step]:
        removals = Removals(self._connection, "")
        where = (UUID(finding.topic_id), finding.partition, finding.first_offset, finding.last_offset)
        copies = removals.copies(*where)
        if copies.surplus:
            text = "remove rows that are identical to another one at their offset, keeping one"
            yield _step("remove_copies", finding, copies.surplus, text)
        if copies.differing:
            yield _step("explain", finding, copies.differing, DIFFERING_COPIES)

    def _ranges(self) -> Iterator[Step]:
        broken = {
            (each.topic_id, each.partition, each.first_offset, each.last_offset): each
            for each in self._findings
            if each.kind in ("missing_rows", "missing_letters")
        }
        if not broken:
            return
        info = self._topics.find(self._settings.topic)
        with LetterOffsets() as letters:
            read_letters(self._settings, self._topics, letters, lambda _: None)
            for finding in broken.values():
                yield from self._range(finding, info, letters)

    def _range(self, finding: Finding, info: TopicInfo | None, letters: LetterOffsets) -> Iterator[Step]:
        topic_id = UUID(finding.topic_id)
        if info is None or info.topic_id != topic_id:
            yield _step("explain", finding, 0, OTHER_TOPIC)
            return
        span = Span(
            topic_id, finding.partition, finding.first_offset, finding.first_offset, finding.last_offset
        )
        recorded = next((each for page in pages(self._connection, span) for each in page), None)
        if recorded is None or (recorded.first, recorded.last) != (span.first, span.last):
            return
        mending = self._mend(span, recorded, letters)
        if mending.rows:
            text = "store messages again that Kafka still has"
            yield _step("store", finding, len(mending.rows), text, mending.rows)
        if mending.letters:
            text = "write dead letters again from the messages that Kafka still has"
            yield _step("dead_letter", finding, len(mending.letters), text, mending.letters)
        if mending.unexplained:
            text = f"{mending.unexplained}; see docs/operations.md, 'rows missing for good'"
            yield _step("explain", finding, 0, text)

    def _mend(self, span: Span, recorded: Recorded, letters: LetterOffsets) -> Mending:
        trusted = (str(span.topic_id), span.partition) not in self._stale
        partition = Partition(self._settings.topic, span.topic_id, span.partition)
        windows = StoredOffsets(self._connection, span, trusted=trusted).windows(span.first, span.last)
        stored = np.concatenate([window.offsets for window in windows])
        lettered = letters.between(span.topic_id, span.partition, span.first, span.last)
        low, _ = self._topics.ends(self._settings.topic, span.partition)
        return mend(
            Evidence(partition, recorded, stored, lettered),
            RangeReader(self._settings, self._judge, low),
            KnownIds(self._connection, partition, trusted=trusted),
            self._settings.window_offsets,
        )


def _joined(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings of neighbouring places as one: each removal makes the engine write parts anew."""
    joined: Finding | None = None
    for finding in findings:
        if joined is None:
            joined = finding
        elif (joined.topic_id, joined.partition) == (finding.topic_id, finding.partition) and (
            joined.first_offset
            <= finding.first_offset
            <= finding.last_offset
            < joined.first_offset + OFFSETS_PER_STEP
        ):
            joined = replace(joined, last_offset=max(joined.last_offset, finding.last_offset))
        else:
            yield joined
            joined = finding
    if joined is not None:
        yield joined


def _step(
    action: Action, finding: Finding, count: int, text: str, offsets: frozenset[int] = frozenset()
) -> Step:
    first, last = finding.first_offset, finding.last_offset
    return Step(action, finding.topic_id, finding.partition, first, last, count, text, offsets)

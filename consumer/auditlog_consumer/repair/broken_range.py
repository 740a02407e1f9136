"""One range whose rows or letters are missing: which messages these are, found by judging them again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from auditlog_consumer.batch import Batch
from auditlog_consumer.check.recorded import Recorded
from auditlog_consumer.fetch.between import messages_between
from auditlog_consumer.judge import Judge, Rejection, Verdicts
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition
from auditlog_consumer.repair.known_ids import EventKey, KnownIds
from auditlog_consumer.settings import ConsumerSettings
from auditlog_schemas.errors import InvalidEvent

Longs: TypeAlias = npt.NDArray[np.int64]

REJECTED_BEFORE: Final = InvalidEvent(
    "rejected_before",
    "",
    "the ledger says that it was rejected, and its letter was lost; today's rules accept it: "
    "`auditlog dead-letters replay` publishes it",
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is there of a range: its ledger row, stored offsets and lettered offsets, each ascending."""

    partition: Partition
    recorded: Recorded
    stored: Longs
    letters: Longs

    @property
    def rows_missing(self) -> int:
        """Return how many accepted messages are not stored."""
        return max(self.recorded.accepted - len(self.stored), 0)

    @property
    def letters_missing(self) -> int:
        """Return how many rejected messages have no letter."""
        return max(self.recorded.rejected - len(np.setdiff1d(self.letters, self.stored)), 0)


@dataclass(frozen=True, slots=True)
class Mending:
    """What can be done about a range.

    Attributes:
        rows: offsets whose messages are to be stored.
        letters: offsets whose messages are to be dead-lettered.
        unexplained: why not everything can be mended; empty when it can.
    """

    rows: frozenset[int] = frozenset()
    letters: frozenset[int] = frozenset()
    unexplained: str = ""


@dataclass(slots=True)
class _Candidates:
    """Messages that are neither stored nor explained, by what today's rules say of them."""

    seen: int = 0
    accepted: dict[int, EventKey] = field(default_factory=dict)
    lettered: dict[int, EventKey] = field(default_factory=dict)
    rejected: set[int] = field(default_factory=set)


class RangeReader:
    """Reads ranges from Kafka again and judges them, a page at a time.

    Args:
        settings: how to reach Kafka.
        judge: with the rules that hold today.
        low: the first offset that Kafka still has of the partition.
    """

    def __init__(self, settings: ConsumerSettings, judge: Judge, low: int) -> None:
        self._settings = settings
        self._judge = judge
        self.low = low

    def verdicts(self, partition: Partition, first: int, last: int) -> Iterator[Verdicts]:
        """Yield the verdicts of the messages from `first` to `last` that Kafka still has."""
        for held in self._pages(partition, max(first, self.low), last):
            yield self._judge.judge(_batch(partition, held))

    def letters(
        self, partition: Partition, first: int, last: int, wanted: frozenset[int]
    ) -> Iterator[list[Rejection]]:
        """Yield the rejections of some messages, a page at a time, whatever today's rules say of them."""
        for held in self._pages(partition, max(first, self.low), last):
            rejected = self._judge.judge(_batch(partition, held)).rejected
            known = {offset for each in rejected for offset in each.span}
            columns = (held.offsets.tolist(), held.received_millis.tolist(), held.keys, held.values)
            yield [
                *(each for each in rejected if not wanted.isdisjoint(each.span)),
                *(
                    Rejection(offset, millis, key, value, REJECTED_BEFORE)
                    for offset, millis, key, value in zip(*columns, strict=True)
                    if offset in wanted and offset not in known
                ),
            ]

    def _pages(self, partition: Partition, first: int, last: int) -> Iterator[Messages]:
        spans = {partition.number: (first, last + 1)}
        return (messages for _, messages in messages_between(self._settings, spans))


def _batch(partition: Partition, held: Messages) -> Batch:
    return Batch(partition, int(held.first_offsets[0]), int(held.offsets[-1]), held)


def mend(evidence: Evidence, reader: RangeReader, known: KnownIds, window_offsets: int) -> Mending:
    """Return which messages of a range to store and which to dead-letter.

    A message is stored again when it was accepted, is not stored and is no duplicate. The ledger says how
    many there are of each, not which, so the messages are judged again; only when the numbers leave no other
    reading is anything done.
    """
    candidates = _candidates(evidence, reader)
    recorded = evidence.recorded
    accepted = _without_duplicates(candidates.accepted, evidence, known, window_offsets)
    lettered = _without_duplicates(candidates.lettered, evidence, known, window_offsets)
    rows, reason = _choose_rows(evidence, accepted, lettered)
    letters, more = _choose_letters(evidence, candidates.rejected, accepted - rows)
    unexplained = "; ".join(filter(None, (reason, more)))
    present = recorded.last - recorded.first + 1 - recorded.absent
    if unexplained and candidates.seen < present:
        gone = present - candidates.seen
        unexplained += f"; Kafka no longer has {gone} of the range's {present} messages"
    return Mending(rows, letters, unexplained)


def _candidates(evidence: Evidence, reader: RangeReader) -> _Candidates:
    found = _Candidates()
    stored, lettered = set(evidence.stored.tolist()), set(evidence.letters.tolist())
    recorded = evidence.recorded
    for verdicts in reader.verdicts(evidence.partition, recorded.first, recorded.last):
        rows = verdicts.rows
        found.seen += rows.num_rows + sum(each.offsets for each in verdicts.rejected)
        columns = (rows.column(name).to_pylist() for name in ("kafka_offset", "account_id", "event_id"))
        for offset, account_id, event_id in zip(*columns, strict=True):
            if offset not in stored:
                kept = found.lettered if offset in lettered else found.accepted
                kept[offset] = (account_id, bytes(event_id))
        for each in verdicts.rejected:
            found.rejected |= set(each.span) - stored - lettered
    return found


def _without_duplicates(
    candidates: dict[int, EventKey], evidence: Evidence, known: KnownIds, window_offsets: int
) -> frozenset[int]:
    """Return the offsets whose event was not accepted before, in the window or earlier in the range."""
    if not candidates:
        return frozenset()
    firsts: dict[EventKey, int] = {}
    for offset, key in sorted(candidates.items()):
        firsts.setdefault(key, offset)
    first, last = evidence.recorded.first, evidence.recorded.last
    stored = known.lowest_offsets(first - window_offsets, last, firsts)
    return frozenset(offset for key, offset in firsts.items() if stored.get(key, last + 1) > offset)


def _choose_rows(
    evidence: Evidence, accepted: frozenset[int], lettered: frozenset[int]
) -> tuple[frozenset[int], str]:
    missing = evidence.rows_missing
    if not missing:
        return frozenset(), ""
    if len(accepted) > missing:
        return frozenset(), (
            f"{missing} accepted messages are not stored, and {len(accepted)} may be meant: today's rules or "
            "window are not those of then; try with the catalog of then in AUDITLOG_CATALOG"
        )
    if len(accepted) == missing:
        return accepted, ""
    if len(accepted) + len(lettered) == missing:
        # Rejected by a first try under shorter rules, accepted by the second one.
        return accepted | lettered, ""
    left = missing - len(accepted)
    return accepted, f"{left} accepted messages cannot be found: Kafka or today's rules no longer have them"


def _choose_letters(
    evidence: Evidence, rejected: set[int], accepted: frozenset[int]
) -> tuple[frozenset[int], str]:
    missing = evidence.letters_missing
    if not missing:
        return frozenset(), ""
    if len(rejected) > missing:
        return frozenset(), f"{missing} dead letters are missing, and {len(rejected)} messages may be meant"
    if len(rejected) == missing:
        return frozenset(rejected), ""
    if len(rejected) + len(accepted) == missing:
        return frozenset(rejected) | accepted, ""
    left = missing - len(rejected)
    return frozenset(rejected), f"{left} rejected messages cannot be found"

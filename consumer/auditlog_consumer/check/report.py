"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from uuid import UUID

Severity: TypeAlias = Literal["error", "warning", "note"]

Kind: TypeAlias = Literal[
    "missing_rows",
    "surplus_rows",
    "stored_twice",
    "uncovered_rows",
    "missing_letters",
    "surplus_letters",
    "ledger_gap",
    "ledger_overlap",
    "ledger_sums",
    "ledger_groups",
    "lost",
    "stale_projection",
    "log_behind_ledger",
    "topic_recreated",
    "retention_overtook",
    "unrecorded_rows",
    "published_again",
    "sequence_hole",
]

FINDINGS_MAX: Final = 10_000
"""Findings that a report keeps; further ones are counted only, so that memory stays bounded."""

NOWHERE: Final = -1
"""Partition and offsets of a finding that is not about a place in a partition."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be, and where.

    Attributes:
        severity: ``error`` makes the check fail; a ``warning`` is worth a look; a ``note`` is worth knowing.
        partition, first_offset, last_offset: both ends included; `NOWHERE` when it has no such place.
        message: one sentence.
        kind: a word for programs, and for `auditlog repair`.
        topic_id: Kafka's id of the topic; empty when it is about all of them.
    """

    severity: Severity
    partition: int
    first_offset: int
    last_offset: int
    message: str
    kind: Kind
    topic_id: str = ""


@dataclass(slots=True)
class Report:
    """What was checked and what was found; offsets add up to accepted + rejected + duplicates + absent.

    Attributes:
        ranges: of the ledger.
        accepted, rejected, duplicates: messages, as the ledger counts them.
        absent: offsets that hold no message, in committed and in lost ranges; with transactional producers
            there are some, so the number alone is no finding.
        lost: offsets of lost ranges.
        findings: at most `FINDINGS_MAX`, in the order in which they were found.
        errors: how many errors were found, kept or not.
        omitted: how many findings were not kept.
    """

    ranges: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    absent: int = 0
    lost: int = 0
    findings: list[Finding] = field(default_factory=list)
    errors: int = 0
    omitted: int = 0

    @property
    def ok(self) -> bool:
        """Tell whether there is no error; warnings and notes are allowed."""
        return not self.errors

    def add(
        self,
        severity: Severity,
        kind: Kind,
        message: str,
        *,
        topic_id: UUID | None = None,
        partition: int = NOWHERE,
        first: int = NOWHERE,
        last: int = NOWHERE,
    ) -> None:
        """Add a finding, or count it when there are too many."""
        self.errors += severity == "error"
        if len(self.findings) >= FINDINGS_MAX:
            self.omitted += 1
            return
        where = "" if topic_id is None else str(topic_id)
        self.findings.append(Finding(severity, partition, first, last, message, kind, where))

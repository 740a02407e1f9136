"""What came out at the other end, counted where it is: rows in ClickHouse, dead letters in Kafka."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from auditlog_cli.demo.names import ACCOUNTS
from auditlog_cli.demo.publication import Published
from auditlog_consumer.check import Report, check
from auditlog_consumer.dead_letter_log import DeadLetterLog
from auditlog_storage.reader import LogReader

if TYPE_CHECKING:
    from auditlog_consumer.settings import ConsumerSettings
    from auditlog_storage.connection import Connection


@dataclass(frozen=True, slots=True)
class Result:
    """One demonstration's numbers."""

    published: Published
    stored: int
    dead: Counter[str]
    report: Report

    def faults(self) -> list[str]:
        """Return what does not add up, in words; nothing when all is well."""
        found = []
        if self.stored != self.published.events:
            found.append(f"{self.published.events:,} good events were published, {self.stored:,} are stored")
        for rule in sorted(self.published.bad | self.dead):
            sent, dead = self.published.bad[rule], self.dead[rule]
            if sent != dead:
                found.append(f"{sent:,} messages that break {rule} were published, {dead:,} are dead letters")
        return found + [finding.message for finding in self.report.findings if finding.severity == "error"]


def stored_events(connection: Connection) -> int:
    """Return how many events the demonstration's accounts have in ClickHouse."""
    reader = LogReader(connection)
    return sum(sum(reader.counts_by_action(account).values()) for account in ACCOUNTS)


def result_of(
    published: Published,
    connection: Connection,
    settings: ConsumerSettings,
    stored_before: int,
    since: datetime,
) -> Result:
    """Count what this demonstration left behind, and check the whole ledger.

    Args:
        published: what Kafka acknowledged.
        connection: to ClickHouse.
        settings: of the consumer.
        stored_before: what `stored_events` said before.
        since: when publishing began; older dead letters are of earlier demonstrations.
    """
    letters = DeadLetterLog(settings).read()
    return Result(
        published=published,
        stored=stored_events(connection) - stored_before,
        dead=Counter(letter.rule for letter in letters if letter.source_time >= since),
        report=check(connection, settings),
    )

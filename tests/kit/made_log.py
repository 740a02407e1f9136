"""A log as a consumer leaves it, made without a consumer: topic, rows, dead letters and ledger of one test.

What is recorded can be made wrong in every way that a check must find and a repair must mend.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from auditlog_consumer.acknowledged import AcknowledgedWriter, Outgoing
from auditlog_consumer.batch import Batch
from auditlog_consumer.check import Finding, Report, check
from auditlog_consumer.dead_letter_log import DeadLetterLog
from auditlog_consumer.dead_letters import DeadLetterSink
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Partition
from auditlog_consumer.repair import Done, make_plan, repair
from auditlog_consumer.service import build_judge
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topic_reader import read_between
from auditlog_consumer.topics import Topics
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import encode
from auditlog_schemas.event import AuditEvent
from auditlog_storage.connection import Connection
from auditlog_storage.ledger import Ledger, Range
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import StorageSettings
from auditlog_storage.writer import EventWriter


class MadeLog:
    """One topic of one partition on the session's servers, and a database of the test's own."""

    def __init__(self, kafka: str, clickhouse_url: str) -> None:
        self.topic = f"made-{uuid.uuid4().hex[:10]}"
        self.settings = ConsumerSettings.load(kafka=kafka, topic=self.topic, group=self.topic)
        self.connection = Connection(StorageSettings.load(url=clickhouse_url))
        migrate(self.connection, load_catalog())
        self.topics = Topics(kafka)
        self.topics.ensure(self.topic, self.settings.dead_topic, partitions=1)
        self.partition = Partition(self.topic, self.topics.describe(self.topic).topic_id, 0)
        self.ledger = Ledger(self.connection)
        self._writer = AcknowledgedWriter(kafka)

    def publish(self, *events: AuditEvent) -> None:
        self.publish_raw(*(encode(event.to_record()) for event in events))

    def publish_raw(self, *bodies: bytes | None) -> None:
        self._writer.write(self.topic, [Outgoing(b"acc_1", body) for body in bodies])

    def store(
        self,
        first: int,
        last: int,
        *,
        duplicates: Sequence[int] = (),
        missing: Sequence[int] = (),
        letters: bool = True,
        group: str = "",
        token: str = "r0",
    ) -> Range:
        """Store and record the published messages of a range as a consumer does.

        Args:
            first, last: the range, both ends included.
            duplicates: offsets of messages that are recorded as duplicates and not stored.
            missing: offsets that are recorded as accepted and not stored.
            letters: whether the dead letters are written.
            group: the consumer group that records it.
            token: the last part of the insert's token.
        """
        judge = build_judge(self.settings)
        verdicts = judge.judge(Batch(self.partition, first, last, self._read(first, last)))
        offsets = verdicts.rows.column("kafka_offset").to_pylist()
        wanted = [offset not in (*duplicates, *missing) for offset in offsets]
        stored = verdicts.rows.filter(pa.array(wanted, pa.bool_()))
        name = f"{self.partition.topic_id}/0/{first}-{last}/{token}"
        EventWriter(self.connection).insert(stored, name)
        if letters and verdicts.rejected:
            sink = DeadLetterSink(self._writer, self.settings.dead_topic, judge.catalog.version)
            sink.write(self.partition, verdicts.rejected)
        return self.record(
            first,
            last,
            accepted=len(offsets) - len(duplicates),
            rejected=len(verdicts.rejected),
            duplicates=len(duplicates),
            absent=verdicts.absent,
            group=group,
        )

    def record(
        self,
        first: int,
        last: int,
        *,
        accepted: int = 0,
        rejected: int = 0,
        duplicates: int = 0,
        absent: int = 0,
        group: str = "",
        **more: Any,
    ) -> Range:
        """Write one row of the ledger."""
        range = Range(
            topic=self.topic,
            topic_id=self.partition.topic_id,
            kafka_partition=0,
            first_offset=first,
            last_offset=last,
            accepted=accepted,
            rejected=rejected,
            duplicates=duplicates,
            absent=absent,
            consumer_group=group or self.settings.group,
            recorded_at=datetime.now(UTC),
            **more,
        )
        self.ledger.append(range)
        return range

    def run(self, sql: str, **settings: int) -> None:
        """Run a statement in which TOPIC_ID stands for the topic's id."""
        self.connection.command(sql.replace("TOPIC_ID", f"'{self.partition.topic_id}'"), settings=settings)

    def delete(self, condition: str) -> None:
        """Delete rows the way that the projection follows."""
        self.run(f"ALTER TABLE audit_events DELETE WHERE {condition}", mutations_sync=2)

    def copy(self, condition: str) -> None:
        """Store the rows for which the condition holds once more."""
        sql = f"INSERT INTO audit_events SELECT * FROM audit_events WHERE {condition}"
        self.run(sql, insert_deduplicate=0)

    def stored(self) -> list[int]:
        """Return the stored offsets, once for each row."""
        rows = self.connection.query_rows("SELECT kafka_offset FROM audit_events ORDER BY 1")
        return [row[0] for row in rows]

    def check(self, **more: Any) -> Report:
        return check(self.connection, self.settings, **more)

    def findings(self, **more: Any) -> list[tuple[str, int, int]]:
        """Check, and return kind, first and last offset of each finding."""
        found: list[Finding] = self.check(**more).findings
        return [(each.kind, each.first_offset, each.last_offset) for each in found]

    def letters(self) -> dict[int, str]:
        """Return the rule of each dead letter by its source offset."""
        return {each.source_offset: each.rule for each in DeadLetterLog(self.settings).read()}

    def plan(self) -> list[tuple[str, int]]:
        """Return action and count of each step of a repair's plan."""
        judge = build_judge(self.settings)
        return [(each.action, each.count) for each in make_plan(self.connection, self.settings, judge).steps]

    def repair(self) -> Done:
        return repair(self.connection, self.settings, build_judge(self.settings), "tester@host")

    def close(self) -> None:
        self._writer.close()
        self.connection.close()

    def _read(self, first: int, last: int) -> Messages:
        lists = read_between(self.settings, self.topic, {0: (first, last + 1)})
        return Messages.of([message for messages in lists for message in messages])

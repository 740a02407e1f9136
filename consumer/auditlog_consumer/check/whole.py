"""The whole check: everything that is looked at, in the order that makes it safe beside running consumers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from auditlog_consumer.check.letter_offsets import LetterOffsets
from auditlog_consumer.check.letters import read_letters
from auditlog_consumer.check.partition_check import PartitionCheck
from auditlog_consumer.check.recorded import Span, pages, spans
from auditlog_consumer.check.repeated_ids import check_repeated_ids
from auditlog_consumer.check.report import Report
from auditlog_consumer.check.sequences import Sequences
from auditlog_consumer.check.stored_offsets import StoredOffsets
from auditlog_consumer.check.table_state import TableState, check_unrecorded, look_at_table
from auditlog_consumer.check.topic_state import compare, look_at, settled_before
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import Topics
from auditlog_storage.connection import Connection

SEQUENCE_GRACE_SECONDS: Final = 600.0
"""How long a producer may go on trying to deliver one number after the next one has arrived."""


def check(
    connection: Connection,
    settings: ConsumerSettings,
    partition: int | None = None,
    since: datetime | None = None,
    *,
    warnings: bool = True,
    sequence_grace_seconds: float = SEQUENCE_GRACE_SECONDS,
) -> Report:
    """Check every recorded range of the topic, or of one partition, or from those recorded since a time on.

    Looks only at what lies below the ledger's ends as they are when it starts, so consumers may go on
    working. Its own memory stays below some 200 MB, whatever the size of the log; the engine's below 2 GiB
    for a query, with its disk beyond that.

    Args:
        connection: to ClickHouse.
        settings: which Kafka, topic and dead-letter topic.
        partition: only this one; sequences of sources, which are spread over partitions, are left out then.
        since: from the first range on that was recorded since then; aware.
        warnings: whether to look for what is only a warning: events published again, holes in sequences.
        sequence_grace_seconds: numbers missing before a row that was received later than this are not
            reported yet.

    Raises:
        StorageUnavailable, BrokerUnavailable: ClickHouse or Kafka did not answer.
        ConfigError: there is no dead-letter topic, or an address is wrong.
    """
    report, topics, sequences = Report(), Topics(settings.kafka, settings.kafka_config), Sequences()
    kafka_before = look_at(topics, settings.topic)
    # The ends first: a batch that is recorded while this runs is for the next check, letters and all.
    wanted = spans(connection, settings.topic, partition, since)
    table = look_at_table(connection)
    compare(report, kafka_before, look_at(topics, settings.topic), wanted)
    if warnings and partition is None:
        settled = settled_before(kafka_before, wanted, table.received)
        if settled is not None and wanted:
            settled -= timedelta(seconds=sequence_grace_seconds)
            sequences.find(connection, {span.topic_id for span in wanted}, settled, since)
    with LetterOffsets() as letters:
        read_letters(settings, topics, letters, sequences.note_letter)
        for span in wanted:
            _check_partition(report, connection, span, table, letters)
    current = kafka_before.info.topic_id if kafka_before.info else None
    check_unrecorded(report, connection, table, settings.topic, current, partition)
    if warnings:
        check_repeated_ids(report, connection, partition, since)
        sequences.report(report)
    return report


def _check_partition(
    report: Report, connection: Connection, span: Span, table: TableState, letters: LetterOffsets
) -> None:
    trusted = table.agrees_with_projection(connection, span)
    if not trusted:
        report.add(
            "error",
            "stale_projection",
            "the projection by_offset, which consumers read back, differs from the table: rows were deleted "
            "with DELETE FROM; see docs/operations.md, 'stale projection'",
            topic_id=span.topic_id,
            partition=span.partition,
            first=span.first,
            last=span.last,
        )
    stored = StoredOffsets(connection, span, trusted=trusted)
    run = PartitionCheck(report, span, stored, letters)
    run.check_start()
    for page in pages(connection, span):
        run.check_page(page)
    run.check_groups()

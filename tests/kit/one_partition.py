"""What a test does behind a consumer's back to the one partition that all its events are in."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pyarrow as pa
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from auditlog_consumer.account_bucket import account_bucket
from auditlog_consumer.batch import Batch
from auditlog_consumer.group import GroupMember
from auditlog_consumer.intent import Intent
from auditlog_consumer.messages import Messages
from auditlog_consumer.partition import Epoch, Partition
from auditlog_consumer.service import build_judge, open_registry
from auditlog_consumer.topic_reader import read_between
from auditlog_consumer.topics import Topics
from auditlog_storage.ledger import Ledger, Range
from auditlog_storage.stored import StoredRows
from auditlog_storage.writer import EventWriter
from kit.pipeline import Pipeline

ACCOUNT: Final = "acc_1"
SECONDS_MAX: Final = 120.0


class OnePartition:
    """The partition of `ACCOUNT`, whose bucket is its number since the topic has as many partitions."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._kafka = pipeline.settings.kafka
        topic_id = Topics(self._kafka).describe(pipeline.topic).topic_id
        self.partition = Partition(pipeline.topic, topic_id, account_bucket(ACCOUNT))

    def announce(self, intent: Intent) -> None:
        """Announce as a consumer that dies then: it joins, announces and leaves."""
        member, given = GroupMember(self._pipeline.settings), list[int]()
        member.join(given.extend, lambda _: None, lambda _: None)
        deadline = time.monotonic() + SECONDS_MAX
        try:
            with ThreadPoolExecutor(1) as thread:
                while self.partition.number not in given:
                    assert time.monotonic() < deadline, "nothing was assigned"
                    member.poll(1, 0.05)
                number = self.partition.number
                epoch = Epoch(threading.Event())
                told = thread.submit(member.announce, epoch, number, intent.first, intent.to_metadata())
                while not told.done():
                    member.poll(1, 0.05)
                told.result()
        finally:
            member.close()

    def intent(self, first: int, last: int) -> Intent:
        """Return an intent whose deadline is long over."""
        return Intent(self.partition.topic_id, first, last, 1_000, 1_700_000_000_000)

    def token(self, first: int, last: int, step: int = 0) -> str:
        return f"{self.partition.topic_id}/{self.partition.number}/{first}-{last}/r{step}"

    def rows(self, first: int, last: int) -> pa.RecordBatch:
        """Return the rows that a consumer makes of the messages of a range."""
        where = {self.partition.number: (first, last + 1)}
        lists = read_between(self._pipeline.settings, self._pipeline.topic, where)
        messages = Messages.of([message for some in lists for message in some])
        registry = open_registry(self._pipeline.settings)
        judge = build_judge(self._pipeline.settings, registry)
        rows = judge.judge(Batch(self.partition, first, last, messages)).rows
        if registry is not None:
            registry.close()
        return rows

    def insert(self, rows: pa.RecordBatch, token: str) -> None:
        EventWriter(self._pipeline.connection).insert(rows, token)

    def stored(self) -> list[int]:
        """Return the stored offsets, once for each row."""
        rows = StoredRows(self._pipeline.connection)
        found = rows.offsets(self.partition.topic_id, self.partition.number, 0, 1 << 60)
        return [int(row["kafka_offset"]) for row in found.to_pylist()]

    def ranges(self) -> list[Range]:
        ledger = Ledger(self._pipeline.connection)
        return list(ledger.ranges(self.partition.topic_id, self.partition.number))

    def set_offset(self, offset: int) -> None:
        """Set the group's committed offset, as an operator does while nothing consumes."""
        at = TopicPartition(self.partition.topic, self.partition.number, offset)
        wanted = ConsumerGroupTopicPartitions(self._pipeline.settings.group, [at])
        admin = AdminClient({"bootstrap.servers": self._kafka})
        [future] = admin.alter_consumer_group_offsets([wanted]).values()
        future.result(SECONDS_MAX)

"""The stages of the contract tests of Kafka: the model, and a real broker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from auditlog_consumer.acknowledged import AcknowledgedWriter
from auditlog_consumer.group import GroupMember
from auditlog_consumer.runtime import Threads
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import Topics
from simulated.contract_kafka import PARTITIONS, SECONDS_MAX, Stage
from simulated.crew import TOPIC_ID
from simulated.kafka_clients import TOPIC, SimAcknowledgedWriter, SimTopics
from simulated.kafka_member import SimGroupMember
from simulated.kafka_model import KafkaModel, Member
from simulated.kernel import Kernel, Process
from simulated.network import Network
from simulated.scenario import Scenario
from simulated.sim_runtime import SimRuntime
from simulated.weather import Weather


class ModelBroker:
    """The model's other side."""

    def __init__(self, kafka: KafkaModel, process: Process) -> None:
        self._kafka = kafka
        self._process = process

    def publish(self, partition: int, values: list[bytes]) -> None:
        """Append messages."""
        for value in values:
            self._kafka.append(partition, b"key", value)

    def abort(self, partition: int, values: list[bytes]) -> None:
        """Append offsets for messages that nobody will see, and the control record that says so."""
        self._kafka.append_gap(partition, len(values) + 1)

    def delete_before(self, partition: int, offset: int) -> None:
        """Delete the beginning of a partition."""
        self._kafka.logs[partition].delete_before(offset)

    def commit_as_stranger(self, partition: int, offset: int) -> bool:
        """Commit as a member that was removed."""
        stranger = Member(self._process, 0, 0.0, alive=False)
        return self._kafka.take_commit(stranger, partition, offset, "")

    def commit_as_operator(self, partition: int, offset: int) -> bool:
        """Set the group's offset if the group is empty."""
        return self._kafka.reset_group(offset, partitions=[partition])

    def letters(self) -> list[tuple[bytes | None, bytes | None]]:
        """Return (key, value) of all dead letters."""
        return [(letter.key, letter.value) for letter in self._kafka.letters]


class RealBroker:
    """A real broker's other side."""

    def __init__(self, kafka: str, topic: str, group: str) -> None:
        self._kafka: dict[str, str | int | float | bool] = {"bootstrap.servers": kafka}
        self._topic = topic
        self._group = group
        self._admin = AdminClient(self._kafka)
        self._topics = Topics(kafka)

    def publish(self, partition: int, values: list[bytes]) -> None:
        """Append messages."""
        producer = Producer(self._kafka)
        for value in values:
            producer.produce(self._topic, value, b"key", partition)
        assert producer.flush(SECONDS_MAX) == 0

    def abort(self, partition: int, values: list[bytes]) -> None:
        """Append messages of a transaction that is aborted, and wait for its control record."""
        _, before = self._topics.ends(self._topic, partition)
        producer = Producer({**self._kafka, "transactional.id": uuid4().hex})
        producer.init_transactions(SECONDS_MAX)
        producer.begin_transaction()
        for value in values:
            producer.produce(self._topic, value, b"key", partition)
        producer.flush(SECONDS_MAX)
        producer.abort_transaction(SECONDS_MAX)
        while self._topics.ends(self._topic, partition)[1] < before + len(values) + 1:
            time.sleep(0.02)

    def delete_before(self, partition: int, offset: int) -> None:
        """Delete the beginning of a partition."""
        at = TopicPartition(self._topic, partition, offset)
        for deleted in self._admin.delete_records([at]).values():
            deleted.result(SECONDS_MAX)

    def commit_as_stranger(self, partition: int, offset: int) -> bool:
        """Commit for the group without joining it."""
        stranger = Consumer({**self._kafka, "group.id": self._group, "log_level": 2})
        try:
            [done] = stranger.commit(
                offsets=[TopicPartition(self._topic, partition, offset)], asynchronous=False
            )
            return done.error is None
        except KafkaException:
            return False
        finally:
            stranger.close()

    def commit_as_operator(self, partition: int, offset: int) -> bool:
        """Set the group's offset, as ``kafka-consumer-groups.sh --reset-offsets`` does."""
        wanted = ConsumerGroupTopicPartitions(self._group, [TopicPartition(self._topic, partition, offset)])
        try:
            [done] = self._admin.alter_consumer_group_offsets([wanted]).values()
            return all(each.error is None for each in done.result(SECONDS_MAX).topic_partitions)
        except KafkaException:
            return False

    def letters(self) -> list[tuple[bytes | None, bytes | None]]:
        """Read all dead letters, of both partitions."""
        reader = Consumer({**self._kafka, "group.id": uuid4().hex, "enable.partition.eof": True})
        reader.assign([TopicPartition(f"{self._topic}.dead", number, 0) for number in range(PARTITIONS)])
        found, ends = [], 0
        try:
            while ends < PARTITIONS:
                for message in reader.consume(100, 1.0):
                    if message.error() is not None:
                        ends += 1
                    else:
                        found.append((message.key(), message.value()))
        finally:
            reader.close()
        return found


@contextmanager
def model_stage() -> Iterator[Stage]:
    """Give the model, on a quiet day."""
    kernel, scenario = Kernel(0), Scenario.drawn(0).with_partitions(PARTITIONS)
    network = Network(kernel, Weather(), scenario)
    kafka, process = KafkaModel(kernel, network, TOPIC_ID, scenario), Process(kernel, "test")

    def make_member() -> Any:
        return SimGroupMember(kafka, network, process)

    topics: Any = SimTopics(kafka, network, process)
    writer: Any = SimAcknowledgedWriter(kafka, network, process)
    yield Stage(ModelBroker(kafka, process), TOPIC, topics, writer, make_member, SimRuntime(process))


@contextmanager
def real_stage(kafka: str) -> Iterator[Stage]:
    """Give a real broker, with a topic and a group of its own."""
    topic = f"contract-{uuid4().hex[:10]}"
    settings = ConsumerSettings.load(kafka=kafka, topic=topic, group=topic)
    topics, writer = Topics(kafka), AcknowledgedWriter(kafka)
    topics.ensure(topic, f"{topic}.dead", PARTITIONS)
    members: list[GroupMember] = []

    def make_member() -> GroupMember:
        members.append(GroupMember(settings))
        return members[-1]

    try:
        yield Stage(RealBroker(kafka, topic, topic), topic, topics, writer, make_member, Threads())
    finally:
        for member in members:
            member.close()
        writer.close()

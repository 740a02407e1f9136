"""What Kafka says of the consumer group, asked from outside it: who is a member, and what was announced."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from auditlog_consumer.intent import Intent, trouble_of
from auditlog_consumer.kafka_errors import translate
from auditlog_consumer.settings import ConsumerSettings
from auditlog_schemas.errors import BrokerUnavailable

ANSWER_SECONDS_MAX: Final = 10.0
CHANGING: Final = frozenset({"PREPARING_REBALANCING", "COMPLETING_REBALANCING"})


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the group, and which partitions of the topic it has."""

    client_id: str
    host: str
    partitions: frozenset[int]

    def __str__(self) -> str:
        return f"{self.client_id} at {self.host}"


@dataclass(frozen=True, slots=True)
class GroupState:
    """The group at one moment; `state` is Kafka's word: STABLE, EMPTY, DEAD (no such group), …."""

    state: str
    members: tuple[Member, ...]

    @property
    def is_changing(self) -> bool:
        """Tell whether the members are about to divide the partitions anew."""
        return self.state in CHANGING

    def owner(self, partition: int) -> Member | None:
        """Return who has a partition; None when nobody has it."""
        return next((member for member in self.members if partition in member.partitions), None)


@dataclass(frozen=True, slots=True)
class Committed:
    """Kafka's committed offset, and what its metadata holds: an intent, and what stopped the partition."""

    offset: int
    intent: Intent | None
    trouble: str = ""


class GroupObserver:
    """Asks about a group without joining it. For processes that live shortly: an AdminClient does not get
    over a restart of the broker (librdkafka #4605).

    Its methods raise BrokerUnavailable when Kafka does not answer, and ConfigError or TerminalError when it
    refuses.
    """

    def __init__(self, settings: ConsumerSettings) -> None:
        self._settings = settings
        reached = {**settings.kafka_config, "bootstrap.servers": settings.kafka}
        self._admin = AdminClient({**reached, "log_level": 2})
        self._consumer = Consumer(
            {**reached, "group.id": settings.group, "enable.auto.commit": False, "log_level": 2}
        )

    def state(self) -> GroupState:
        """Return who is a member now; a process that died is one until its session is over."""
        group = self._settings.group
        doing = f"describing group {group}"
        try:
            asked = self._admin.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS_MAX)
            found = asked[group].result(ANSWER_SECONDS_MAX + 1)
        except KafkaException as error:
            raise translate(error.args[0], doing) from error
        except TimeoutError as error:
            raise BrokerUnavailable(f"Kafka, {doing}: no answer") from error
        members = (
            Member(one.client_id, one.host.lstrip("/"), self._ours(one.assignment.topic_partitions))
            for one in found.members
        )
        return GroupState(found.state.name, tuple(sorted(members, key=str)))

    def committed(self, partitions: Collection[int]) -> dict[int, Committed]:
        """Return what is committed, of the partitions that have something committed."""
        positions = [TopicPartition(self._settings.topic, number) for number in partitions]
        try:
            answers = self._consumer.committed(positions, timeout=ANSWER_SECONDS_MAX)
        except KafkaException as error:
            raise translate(error.args[0], "reading the committed offsets") from error
        for at in answers:
            if at.error is not None:
                raise translate(at.error, "reading the committed offsets")
        return {
            at.partition: Committed(
                at.offset, Intent.from_metadata(at.metadata or ""), trouble_of(at.metadata or "")
            )
            for at in answers
            if at.offset >= 0
        }

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ours(self, assigned: Collection[TopicPartition]) -> frozenset[int]:
        return frozenset(at.partition for at in assigned if at.topic == self._settings.topic)

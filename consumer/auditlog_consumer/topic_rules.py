"""What the topics' settings have to be, so that no message is gone before it is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from auditlog_consumer.dead_letters import DEAD_MESSAGE_BYTES_MIN
from auditlog_consumer.fetch.batches import BATCH_BYTES_MAX
from auditlog_consumer.topics import TopicInfo
from auditlog_schemas.limits import MESSAGE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class TopicFault:
    """A setting of a topic that is not as it should be.

    Attributes:
        topic: the topic's name.
        setting, value: as Kafka has it.
        why: what follows from it.
        wanted: the value that it should have.
        is_refused: whether no consumer works with it; otherwise it is a risk that somebody may take.
    """

    topic: str
    setting: str
    value: str
    why: str
    wanted: str
    is_refused: bool = False

    @property
    def found(self) -> str:
        """Return what is wrong, in one sentence."""
        return f"topic {self.topic} has {self.setting}={self.value}: {self.why}"

    @property
    def cure(self) -> str:
        """Return the command that sets what is wanted."""
        change = f"--add-config {self.setting}={self.wanted}"
        return f"kafka-configs.sh --bootstrap-server HOST:PORT --alter --topic {self.topic} {change}"

    def __str__(self) -> str:
        return f"{self.found}; run `{self.cure}`"


def faults_of_events(topic: TopicInfo) -> Iterator[TopicFault]:
    """Yield what is wrong with the topic of the events."""
    if topic.timestamp_type != "LogAppendTime":
        why = "producers could set any time"
        yield _refused(topic, "message.timestamp.type", topic.timestamp_type, why, "LogAppendTime")
    if topic.message_bytes_max > BATCH_BYTES_MAX:
        why = (
            f"a batch of more than {BATCH_BYTES_MAX:,} bytes is not read, and no event has more than "
            f"{MESSAGE_BYTES_MAX:,}"
        )
        value, wanted = str(topic.message_bytes_max), str(BATCH_BYTES_MAX)
        yield _refused(topic, "max.message.bytes", value, why, wanted)
    if not _only_deletes(topic):
        why = (
            "compaction deletes all but the last message of an account, and what it deletes before it was "
            "read cannot be told from offsets that never had a message"
        )
        yield _refused(topic, "cleanup.policy", topic.cleanup_policy, why, "delete")
    if topic.retention_bytes != -1:
        why = (
            f"of each partition Kafka deletes the oldest messages beyond {topic.retention_bytes:,} bytes, "
            "recorded or not"
        )
        yield TopicFault(topic.name, "retention.bytes", str(topic.retention_bytes), why, "-1")
    yield from _unclean(topic)


def faults_of_letters(topic: TopicInfo) -> Iterator[TopicFault]:
    """Yield what is wrong with the topic of the dead letters."""
    if topic.message_bytes_max < DEAD_MESSAGE_BYTES_MIN:
        value, wanted = str(topic.message_bytes_max), str(2 * DEAD_MESSAGE_BYTES_MIN)
        yield _refused(topic, "max.message.bytes", value, "a dead letter may not fit", wanted)
    if not _only_deletes(topic):
        why = "the pieces of a large letter have one key: compaction deletes all but the last"
        yield _refused(topic, "cleanup.policy", topic.cleanup_policy, why, "delete")
    if topic.retention_millis != -1:
        hours = topic.retention_millis / 3_600_000
        why = f"what was rejected is lost when its letter expires, after {hours:,.1f} h"
        yield TopicFault(topic.name, "retention.ms", str(topic.retention_millis), why, "-1")
    if topic.retention_bytes != -1:
        why = (
            "what was rejected is lost when its letter is deleted, beyond "
            f"{topic.retention_bytes:,} bytes of a partition"
        )
        yield TopicFault(topic.name, "retention.bytes", str(topic.retention_bytes), why, "-1")
    yield from _unclean(topic)


def _unclean(topic: TopicInfo) -> Iterator[TopicFault]:
    if topic.unclean_election:
        why = "a replica that lacks acknowledged messages may become leader, and they are gone then"
        yield TopicFault(topic.name, "unclean.leader.election.enable", "true", why, "false")


def _only_deletes(topic: TopicInfo) -> bool:
    return {each.strip() for each in topic.cleanup_policy.split(",")} == {"delete"}


def _refused(topic: TopicInfo, setting: str, value: str, why: str, wanted: str) -> TopicFault:
    return TopicFault(topic.name, setting, value, why, wanted, is_refused=True)

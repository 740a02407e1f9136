"""Reading a topic between given offsets, without joining a group and without leaving a trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from auditlog_consumer.kafka_errors import translate
from auditlog_consumer.settings import ConsumerSettings
from auditlog_schemas.errors import BrokerUnavailable

SILENCE_SECONDS_MAX: Final = 30.0
_POLL_SECONDS: Final = 0.1


def read_between(
    settings: ConsumerSettings, topic: str, spans: Mapping[int, tuple[int, int]], messages_max: int = 1_000
) -> Iterator[list[Any]]:
    """Yield Kafka's messages of some partitions, at most `messages_max` at once.

    Partitions are assigned at explicit offsets and nothing is committed, so no consumer notices. Offsets
    that hold no message, of aborted transactions for example, or no message any more are passed over.

    Args:
        settings: how to reach Kafka.
        topic: its name.
        spans: by partition the first offset and the one after the last.
        messages_max: of one list.

    Raises:
        BrokerUnavailable: Kafka did not answer, or sent nothing for `SILENCE_SECONDS_MAX`.
        ConfigError, TerminalError: Kafka refuses.
    """
    left = {number: end for number, (first, end) in spans.items() if end > first}
    try:
        with closing(_consumer(settings)) as consumer:
            consumer.assign([TopicPartition(topic, number, spans[number][0]) for number in sorted(left)])
            silent_polls = 0
            while left:
                received = consumer.consume(messages_max, _POLL_SECONDS)
                silent_polls = 0 if received else silent_polls + 1
                if silent_polls * _POLL_SECONDS >= SILENCE_SECONDS_MAX:
                    raise BrokerUnavailable(f"Kafka sent nothing of {topic} for {SILENCE_SECONDS_MAX:.0f} s")
                before = set(left)
                if messages := [message for message in received if _is_wanted(message, left)]:
                    yield messages
                if done := before - set(left):
                    consumer.incremental_unassign([TopicPartition(topic, number) for number in done])
    except KafkaException as error:
        raise translate(error.args[0], f"reading {topic}") from error


def _is_wanted(message: Any, left: dict[int, int]) -> bool:
    """Tell whether a message lies before its partition's end; forget the partition when that is reached."""
    failure, number = message.error(), message.partition()
    if failure is not None and failure.code() != KafkaError._PARTITION_EOF:
        if failure.retriable():
            return False
        raise KafkaException(failure)
    end = left.get(number, 0)
    if failure is not None or message.offset() + 1 >= end:
        left.pop(number, None)
    return failure is None and message.offset() < end


def _consumer(settings: ConsumerSettings) -> Any:
    return Consumer(
        {
            **settings.kafka_config,
            "bootstrap.servers": settings.kafka,
            # librdkafka wants a name; as nothing subscribes or commits, the group never comes to exist.
            "group.id": f"{settings.group}.check",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            # Retention may pass the first offset meanwhile: what is gone is gone.
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "queued.max.messages.kbytes": 16 * 1024,
            "log_level": 2,
        }
    )

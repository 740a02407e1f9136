"""Where Kafka's log of each partition begins and ends, asked for many partitions at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from auditlog_consumer.kafka_errors import translate
from auditlog_schemas.errors import BrokerUnavailable

ANSWER_SLACK_SECONDS: Final = 1.0


class LogEnds:
    """Asks Kafka's leaders. Thread-safe.

    Args:
        kafka: bootstrap servers.
        config: further librdkafka settings.
        seconds_max: for one answer.
    """

    def __init__(self, kafka: str, config: Mapping[str, str] | None = None, seconds_max: float = 5.0) -> None:
        self._admin = AdminClient({**(config or {}), "bootstrap.servers": kafka, "log_level": 2})
        self._seconds_max = seconds_max

    def lows(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """Return the first offset that Kafka still has of each partition.

        Raises:
            BrokerUnavailable: Kafka did not answer, or does not know one of the partitions (yet).
        """
        return self._ask(topic, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def highs(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """Return the offset after the last one of each partition; raises as `lows` does."""
        return self._ask(topic, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def stable_highs(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """Return the first offset of each partition of a transaction that is open, or its end; as `highs`."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._ask(topic, partitions, latest, IsolationLevel.READ_COMMITTED)

    def _ask(
        self,
        topic: str,
        partitions: Collection[int],
        spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> dict[int, int]:
        if not partitions:
            return {}
        doing = f"asking for the ends of {topic}"
        asked = {TopicPartition(topic, number): spec for number in partitions}
        try:
            answers = self._admin.list_offsets(
                asked, request_timeout=self._seconds_max, isolation_level=isolation
            )
            return {
                at.partition: int(answer.result(self._seconds_max + ANSWER_SLACK_SECONDS).offset)
                for at, answer in answers.items()
            }
        except KafkaException as error:
            raise translate(error.args[0], doing) from error
        except TimeoutError as error:
            raise BrokerUnavailable(f"Kafka, {doing}: no answer") from error

"""What recovery and the dead letters use of Kafka, over the model: the same methods as the real classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast
from uuid import UUID

from auditlog_consumer.acknowledged import Outgoing
from auditlog_schemas.errors import BrokerUnavailable, TerminalError
from simulated.kafka_model import KafkaModel
from simulated.kernel import Process
from simulated.network import Answer, Network

TOPIC: Final = "audit.events"


class SimTopics:
    """Stands for `auditlog_consumer.topics.Topics`, of which recovery uses two methods."""

    def __init__(self, kafka: KafkaModel, network: Network, process: Process) -> None:
        self._kafka = kafka
        self._network = network
        self._process = process

    def identify(self, topic: str) -> UUID | None:
        """Return the topic's id."""
        assert topic == TOPIC, "there is one topic"
        what = "identify the topic"
        found = self._network.request(
            self._process, self._kafka, what, lambda answer: answer(self._kafka.topic_id)
        )
        return cast("UUID | None", found)

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset and the offset after the last one."""
        assert topic == TOPIC, "there is one topic"

        def serve(answer: Answer) -> None:
            answer((self._kafka.logs[partition].low, self._kafka.logs[partition].high))

        found = self._network.request(self._process, self._kafka, f"ask for the ends of {partition}", serve)
        return cast("tuple[int, int]", found)


class Refused(TerminalError):
    """Kafka refuses the letters of a partition for good, until an operator has mended it."""


def _partition_of(message: Outgoing) -> int:
    return int((message.key or b"").split(b"/")[1])


class SimAcknowledgedWriter:
    """Stands for `auditlog_consumer.acknowledged.AcknowledgedWriter`."""

    def __init__(self, kafka: KafkaModel, network: Network, process: Process) -> None:
        self._kafka = kafka
        self._network = network
        self._process = process

    def write(self, topic: str, all_messages: Iterable[Outgoing]) -> None:
        """Write all messages; some or all may be there when it fails."""
        messages = list(all_messages)
        assert topic == f"{TOPIC}.dead", "there is one topic of dead letters"
        if any(_partition_of(message) in self._kafka.refused for message in messages):
            raise Refused("Kafka refuses these letters")

        def serve(answer: Answer) -> None:
            draw, torn = self._process.kernel.random, self._network.weather.torn
            if torn and draw.random() < torn:
                self._kafka.letters.extend(messages[: draw.randint(0, len(messages))])
                answer(BrokerUnavailable("Kafka did not acknowledge some messages"))
            else:
                self._kafka.letters.extend(messages)
                answer(None)

        keys = [message.key.rpartition(b"/")[2].decode() for message in messages if message.key]
        self._network.request(self._process, self._kafka, f"dead-letter {','.join(keys)}", serve)

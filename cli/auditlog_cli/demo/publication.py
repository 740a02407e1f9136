"""Publishing the day: good events through the SDK, bad messages around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from auditlog_cli.catalog_source import configured_catalog
from auditlog_cli.demo.bad_messages import BadMessage, Spoiler
from auditlog_cli.demo.day import Day
from auditlog_consumer.acknowledged import AcknowledgedWriter, Outgoing
from auditlog_consumer.settings import ConsumerSettings
from auditlog_producers import AuditProducer

SERVICE: Final = "licensing"
BAD_A_TIME: Final = 20
PROGRESS_EVERY: Final = 500


@dataclass(slots=True)
class Published:
    """What Kafka acknowledged: events, and bad messages by the rule that they break."""

    events: int = 0
    bad: Counter[str] = field(default_factory=Counter)

    @property
    def messages(self) -> int:
        """Return how many messages that is."""
        return self.events + self.bad.total()


def publish_day(
    day: Day, spoiler: Spoiler, settings: ConsumerSettings, progress: Callable[[int], None]
) -> Published:
    """Publish every event of the day, with bad messages in between; return when Kafka has all of them.

    Raises:
        EventsUndelivered: Kafka did not take all events.
        BrokerUnavailable: Kafka did not take the bad messages.
    """
    published = Published()
    waiting: list[BadMessage] = []
    writer = AcknowledgedWriter(settings.kafka, settings.kafka_config)
    producer = AuditProducer(
        settings.kafka,
        service=SERVICE,
        topic=settings.topic,
        catalog=configured_catalog(),
        block_seconds_max=30.0,
        kafka_config=settings.kafka_config,
    )

    def write_bad() -> None:
        writer.write(settings.topic, [Outgoing(bad.key, bad.value) for bad in waiting])
        published.bad.update(bad.rule for bad in waiting)
        waiting.clear()

    try:
        with producer:
            for number, event in enumerate(day.events(), 1):
                producer.publish(event)
                waiting += spoiler.from_event(number, event)
                if len(waiting) >= BAD_A_TIME:
                    write_bad()
                if number % PROGRESS_EVERY == 0:
                    progress(number)
            write_bad()
    finally:
        writer.close()
    published.events = producer.stats.delivered
    return published

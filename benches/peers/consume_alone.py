"""The ceiling: librdkafka's `consume()` from Python, and nothing done with what it brings.

python -m peers.consume_alone KAFKA TOPIC EVENTS
"""

from __future__ import annotations

import sys

from confluent_kafka import Consumer
from peers.report import say


def main() -> None:
    kafka, topic, events = sys.argv[1], sys.argv[2], int(sys.argv[3])
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": f"alone-{topic}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic], on_assign=lambda *_: say("assigned"))
    seen = 0
    while seen < events:
        seen += sum(message.error() is None for message in consumer.consume(10_000, 0.5))
    say("stored", accepted=seen)
    consumer.close()


if __name__ == "__main__":
    main()

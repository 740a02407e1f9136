"""What the producers of the chaos bench publish, and what Kafka acknowledged of it, and where.

Ordinary events in bursts at full speed, paced over the whole run; some are published twice (at once or later,
with the same id in the same account), and some messages are spoiled so that they must be dead-lettered.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from confluent_kafka import Producer
from event_load import POOL_EVENTS, STEP_MICROS, ordinary_pool

from auditlog_cli.demo.bad_messages import KINDS as SPOILERS
from auditlog_schemas.codec import MessageDecoder, WriterSchemas
from auditlog_schemas.event import AuditEvent

REPEATED_SHARE: Final = 0.02
BAD_SHARE: Final = 0.01
KEPT_BACK_SHARE: Final = 0.05
KEPT_BACK_PER_SECOND: Final = 100
BURST_SECONDS_MAX: Final = 2.0
REMEMBERED_MAX: Final = 2_000
QUEUE_MESSAGES_MAX: Final = 400_000
DELIVERY_SECONDS_MAX: Final = 600
_ID: Final = slice(11, 11 + 36)
_NOWHERE: Final = -1


@dataclass(frozen=True, slots=True)
class Message:
    """`number` is the event's; None for a spoiled message, whose event is published by another one."""

    number: int | None
    key: bytes
    value: bytes | None


class Load:
    """Publishes for about `seconds`; `run` is for a thread of its own.

    A small part is kept back for faults that still wait for a request then; see `hurry`.

    Attributes:
        events: how many different events are published.
        ids: each event's id as text (36 bytes).
        partitions, offsets: where the first copy of each event is; -1 until it is acknowledged.
        bad: partition and offset of each spoiled message.
        repeats: how many further copies of events are in Kafka.
        acknowledged: by partition, the offset after the last acknowledged message.
        failure: why the producers gave up; None is as it should be.
    """

    def __init__(self, kafka: str, topic: str, seed: int, events: int, seconds: float) -> None:
        self.events = events
        self.ids: npt.NDArray[np.bytes_] = np.zeros(events, "S36")
        self.partitions: npt.NDArray[np.int64] = np.full(events, _NOWHERE, np.int64)
        self.offsets: npt.NDArray[np.int64] = np.full(events, _NOWHERE, np.int64)
        self.bad: set[tuple[int, int]] = set()
        self.repeats = 0
        self.acknowledged: Counter[int] = Counter()
        self.failure: BaseException | None = None
        self._topic = topic
        self._hurry = threading.Event()
        self._seconds = seconds
        self._random = random.Random(seed)
        self._decoder = MessageDecoder(WriterSchemas())
        self._remembered: list[Message] = []
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 5,
                "delivery.timeout.ms": DELIVERY_SECONDS_MAX * 1000,
                "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
                "log_level": 2,
            }
        )

    def hurry(self) -> None:
        """Publish the rest at once."""
        self._hurry.set()

    def run(self, stop: threading.Event) -> None:
        """Publish everything, then wait until Kafka has acknowledged it all; earlier when told to stop."""
        try:
            self._publish(stop)
            while len(self._producer) and not stop.is_set():
                self._producer.poll(0.1)
        except BaseException as error:
            self.failure = error
        finally:
            self._producer.purge()
            self._producer.flush(1)

    def _publish(self, stop: threading.Event) -> None:
        begun, published = time.monotonic(), 0
        messages = self._messages()
        while published < self.events and not stop.is_set():
            # All that is due is published at once, then nothing for a while.
            due = self._due(time.monotonic() - begun)
            while published < due and self.failure is None:
                message = next(messages)
                self._produce(message)
                published += message.number == published
            if self.failure is not None:
                raise self.failure
            pause_until = time.monotonic() + self._random.uniform(0, BURST_SECONDS_MAX)
            while time.monotonic() < pause_until and not self._hurry.is_set():
                self._producer.poll(min(0.05, max(0, pause_until - time.monotonic())))

    def _due(self, seconds: float) -> int:
        """Return how many events should be published after so many seconds."""
        if self._hurry.is_set():
            return self.events
        paced = self.events * (1 - KEPT_BACK_SHARE) * min(1.0, seconds / self._seconds)
        return min(self.events, int(paced + KEPT_BACK_PER_SECOND * max(0.0, seconds - self._seconds)))

    def _messages(self) -> Iterator[Message]:
        """Yield every event once in the order of their numbers, repeats and spoiled messages in between."""
        for event in self._events():
            yield event
            chance = self._random.random()
            if chance < REPEATED_SHARE:
                yield self._repeat(event)
            elif chance < REPEATED_SHARE + BAD_SHARE:
                yield self._spoil(event)
            if chance > 0.99:
                self._remember(event)

    def _events(self) -> Iterator[Message]:
        pool = ordinary_pool()
        keys = pool.accounts()
        for first in range(0, self.events, POOL_EVENTS):
            micros = int(time.time() * 1e6) - POOL_EVENTS * STEP_MICROS
            values = pool.round(self._random.randrange(1 << 30), micros)
            for number in range(first, min(first + POOL_EVENTS, self.events)):
                value = values[number - first]
                self.ids[number] = value[_ID]
                yield Message(number, keys[number - first], value)

    def _remember(self, event: Message) -> None:
        if len(self._remembered) < REMEMBERED_MAX:
            self._remembered.append(event)
        else:
            self._remembered[self._random.randrange(REMEMBERED_MAX)] = event

    def _repeat(self, event: Message) -> Message:
        return self._random.choice([event, *self._random.choices(self._remembered or [event], k=2)])

    def _spoil(self, event: Message) -> Message:
        assert event.value is not None
        record = self._decoder.decode(event.value)
        rule = self._random.choice(["tombstone", *SPOILERS])
        if rule == "tombstone":
            return Message(None, event.key, None)
        spoil = SPOILERS[rule]
        value = spoil(AuditEvent.from_record(record), record, event.value, self._random)
        return Message(None, event.key, value)

    def _produce(self, message: Message) -> None:
        noted = partial(self._noted, message.number)
        while True:
            try:
                return self._producer.produce(self._topic, message.value, message.key, on_delivery=noted)
            except BufferError:
                self._producer.poll(0.1)

    def _noted(self, number: int | None, error: Any, message: Any) -> None:
        if error is not None:
            # It may be in Kafka or not, so nothing can be compared any more.
            self.failure = RuntimeError(f"Kafka did not acknowledge a message: {error}")
            return
        partition, offset = message.partition(), message.offset()
        self.acknowledged[partition] = max(self.acknowledged[partition], offset + 1)
        if number is None:
            self.bad.add((partition, offset))
        elif self.offsets[number] == _NOWHERE:
            self.partitions[number], self.offsets[number] = partition, offset
        else:
            self.repeats += 1
            self.offsets[number] = min(self.offsets[number], offset)

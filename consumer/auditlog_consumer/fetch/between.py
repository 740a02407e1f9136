"""Reading messages between given offsets, without joining a group and without leaving a trace."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Final

import numpy as np

from auditlog_consumer.fetch.fetcher import Fetcher
from auditlog_consumer.fetch.wire import READ_COMMITTED
from auditlog_consumer.messages import Messages
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.topics import Topics
from auditlog_schemas.errors import BrokerUnavailable

SILENCE_SECONDS_MAX: Final = 30.0
_MESSAGES_AT_ONCE: Final = 10_000
_WAIT_SECONDS: Final = 0.1


def messages_between(
    settings: ConsumerSettings,
    spans: Mapping[int, tuple[int, int]],
    silence_seconds_max: float = SILENCE_SECONDS_MAX,
    isolation: int = READ_COMMITTED,
) -> Iterator[tuple[int, Messages]]:
    """Yield (partition, messages) of the settings' topic, each partition in the order of its offsets.

    Memory is bounded as in `Fetcher`. Offsets that hold no message, of aborted transactions for example, or
    no message any more are passed over.

    Args:
        settings: how to reach Kafka, and the topic.
        spans: by partition the first offset and the one after the last.
        silence_seconds_max: for so long Kafka may send nothing.
        isolation: as of `Fetcher`.

    Raises:
        BrokerUnavailable: Kafka did not answer, or sent nothing for so long.
        ConfigError, TerminalError: Kafka refuses, or what it sends cannot be read.
    """
    left = {number: end for number, (first, end) in spans.items() if end > first}
    reader = f"{settings.group}.reading"
    fetcher = Fetcher(settings.kafka, settings.kafka_config, settings.topic, reader, isolation)
    with closing(fetcher):
        for number in sorted(left):
            fetcher.start(number, spans[number][0])
        heard_seconds, reason = time.monotonic(), ""
        while left:
            fetcher.wait(_WAIT_SECONDS)
            polled = fetcher.take(_MESSAGES_AT_ONCE)
            if polled.topic_is_unknown:
                reason = ": it does not know this topic"
            elif polled.trouble:
                reason = f": {polled.trouble[-1]}"
            if error := next(iter(polled.failures.values()), None):
                raise error
            for number in polled.out_of_range & left.keys():
                # Retention has passed the first offset meanwhile: what is gone is gone.
                low, _ = Topics(settings.kafka, settings.kafka_config).ends(settings.topic, number)
                fetcher.start(number, low)
            for number, messages in polled.messages.items():
                if len(wanted := _before(messages, left[number])):
                    yield number, wanted
                # However long that was put to use.
                heard_seconds = time.monotonic()
                if int(messages.offsets[-1]) + 1 >= left[number]:
                    polled.ends[number] = left[number]
            # Where a log ends nothing more comes, whatever was asked for.
            for number in polled.ends.keys() & left.keys():
                heard_seconds = time.monotonic()
                fetcher.stop(number)
                del left[number]
            if time.monotonic() - heard_seconds > silence_seconds_max:
                raise BrokerUnavailable(
                    f"Kafka sent nothing of {settings.topic} for {silence_seconds_max:.0f} s{reason}"
                )


def _before(messages: Messages, end: int) -> Messages:
    inside = messages.divided_after(end - 1)
    return inside.between(0, int(np.searchsorted(inside.offsets, end)))

"""When Kafka received the message at some offset."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

from auditlog_consumer.fetch.between import messages_between
from auditlog_consumer.fetch.wire import READ_UNCOMMITTED
from auditlog_consumer.settings import ConsumerSettings
from auditlog_schemas.errors import BrokerUnavailable
from auditlog_schemas.record import time_of

_OFFSETS_MAX: Final = 1 << 62


def received_at(
    settings: ConsumerSettings, offsets: Mapping[int, int], seconds_max: float
) -> dict[int, datetime]:
    """Return by partition when Kafka received the first message at or after an offset, aware UTC.

    Partitions whose message did not come within the time, or that have none there, are left out. Joins no
    group and changes nothing.

    Raises:
        ConfigError, TerminalError: Kafka refuses the request as a whole.
    """
    found: dict[int, datetime] = {}
    with suppress(BrokerUnavailable):
        for number, offset in offsets.items():
            spans = {number: (offset, _OFFSETS_MAX)}
            # Also what is not decided yet waits.
            for _, messages in messages_between(settings, spans, seconds_max, READ_UNCOMMITTED):
                found[number] = time_of(int(messages.received_millis[0]))
                break
    return found

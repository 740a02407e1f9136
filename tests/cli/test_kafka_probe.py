"""How far the log is behind Kafka, and up to when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from auditlog_cli.kafka_probe import KafkaProbe
from kit.events import make_event
from kit.made_log import MadeLog

pytestmark = pytest.mark.integration


@pytest.fixture
def made(kafka_bootstrap: str, fresh_database: str) -> Iterator[MadeLog]:
    made = MadeLog(kafka_bootstrap, fresh_database)
    yield made
    made.close()


def test_a_log_is_complete_up_to_the_oldest_message_that_waits(made: MadeLog) -> None:
    probe = KafkaProbe(made.settings, made.connection)
    before = datetime.now(UTC)
    empty = probe()
    assert empty.lag_offsets == 0
    assert empty.complete_up_to is not None
    assert empty.complete_up_to >= before

    sent = datetime.now(UTC) - timedelta(seconds=1)
    made.publish(make_event(), make_event())
    waiting = probe()
    assert waiting.lag_offsets == 2
    assert waiting.complete_up_to is not None
    assert sent <= waiting.complete_up_to <= datetime.now(UTC) + timedelta(seconds=1)

    made.store(0, 0)
    half = probe()
    assert half.lag_offsets == 1
    made.store(1, 1)
    asked = datetime.now(UTC)
    whole = probe()
    assert whole.lag_offsets == 0
    assert whole.complete_up_to is not None
    assert whole.complete_up_to >= asked

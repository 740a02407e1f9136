"""Times that producers set while a topic let them: whatever they are, the account is whole."""

from __future__ import annotations

import pytest

from auditlog_schemas.codec import encode
from kit.events import make_event
from kit.pipeline import Pipeline
from kit.record_batches import Head, Record, record_batch, send
from kit.topic_settings import alter

pytestmark = pytest.mark.integration

TIMES = (-(1 << 63), -2, -1, 0, 1 << 40, 1 << 53, 1 << 62, (1 << 63) - 1)


def set_clock(pipeline: Pipeline, kind: str) -> None:
    alter(pipeline, pipeline.topic, "message.timestamp.type", kind)
    alter(pipeline, pipeline.topic, "message.timestamp.after.max.ms", str((1 << 63) - 1))


def test_events_with_any_time_of_kafka_s_are_stored_or_rejected(pipeline: Pipeline) -> None:
    set_clock(pipeline, "CreateTime")
    sent = 0
    for first in TIMES:
        for millis in (0, 1 << 62, -(1 << 62)):
            event = make_event()
            record = Record(encode(event.to_record()), event.account_id.encode(), millis=millis)
            head = Head(first_millis=first, last_millis=min(max(first + millis, -(1 << 63)), (1 << 63) - 1))
            send(pipeline.settings.kafka, pipeline.topic, 0, record_batch([record], "zstd", head))
            bomb = record_batch([Record(b"", None, 40 << 20)], "gzip", head) if not millis else None
            if bomb:
                send(pipeline.settings.kafka, pipeline.topic, 0, bomb)
            sent += 2 if bomb else 1
    set_clock(pipeline, "LogAppendTime")
    with pipeline.running():
        pipeline.wait_until_caught_up()
    report = pipeline.check()
    assert report.accepted + report.rejected == sent
    # Those with a time after the events', which are the time of Kafka and the last one of ClickHouse.
    assert 0 < report.accepted < sent
    letters = pipeline.dead_letters()
    assert {letter.rule for letter in letters} == {"occurred_too_far_ahead", "batch_too_large"}
    assert not [letter.detail for letter in letters if "report" in letter.detail]

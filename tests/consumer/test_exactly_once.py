"""Exactly once on real Kafka and the real engine: copies, announced ranges, group offsets, clocks."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from auditlog_schemas.errors import StorageUnavailable
from auditlog_schemas.event import AuditEvent, Entity
from auditlog_storage.deadline import InsertTooLate
from auditlog_storage.writer import EventWriter
from kit.events import make_event
from kit.one_partition import OnePartition
from kit.pipeline import Pipeline

pytestmark = pytest.mark.integration


def make_events(count: int) -> list[AuditEvent]:
    """Return events of one account, whose rows lie in two parts of the table."""
    order = {"action": "order_deleted", "entity": Entity(type="order", id="ord_1"), "changes": ()}
    return [make_event(**(order if number % 3 else {})) for number in range(count)]


def consume(pipeline: Pipeline, events: list[AuditEvent]) -> None:
    pipeline.publish(events)
    with pipeline.running():
        pipeline.wait_until_caught_up()


def test_copies_are_dropped_within_the_window_also_after_a_restart(
    kafka_bootstrap: str, fresh_database: str
) -> None:
    events, later = make_events(10), make_events(15)
    pipeline = Pipeline(kafka_bootstrap, fresh_database, window_offsets=20)
    consume(pipeline, [*events, events[0], events[0]])
    pipeline.publish([events[5], *later])
    with pipeline.running():
        pipeline.wait_until_caught_up()
        # The window begins at offset 8 now.
        pipeline.publish([events[1], events[9], later[0]])
        pipeline.wait_until_caught_up()
    assert OnePartition(pipeline).stored() == [*range(10), *range(13, 28), 28]
    report = pipeline.check()
    assert (report.accepted, report.duplicates) == (26, 5)
    assert [finding.kind for finding in report.findings] == ["published_again"]
    pipeline.close()


def test_the_same_id_in_another_account_is_no_copy(pipeline: Pipeline) -> None:
    event = make_event()
    consume(pipeline, [event, event.model_copy(update={"account_id": "acc_2"}), event])
    report = pipeline.check()
    assert (report.accepted, report.duplicates) == (2, 1)


@pytest.mark.parametrize("stored", ["nothing", "a part", "everything"])
def test_an_announced_range_is_replayed_exactly(pipeline: Pipeline, stored: str) -> None:
    """Its owner died after the announcement, in the middle of the insert, or before the ledger row."""
    pipeline.publish(make_events(30))
    partition = OnePartition(pipeline)
    partition.announce(partition.intent(0, 11))
    rows, token = partition.rows(0, 11), partition.token(0, 11)
    if stored == "everything":
        partition.insert(rows, token)
    elif stored == "a part":
        orders = [kind == "order" for kind in rows.column("entity_type").to_pylist()]
        partition.insert(rows.filter(pa.array(orders)), token)
    with pipeline.running():
        pipeline.wait_until_caught_up()
    [first, *_] = partition.ranges()
    assert (first.first_offset, first.last_offset) == (0, 11)
    assert partition.stored() == list(range(30))
    # The dead owner's insert arrives after all.
    partition.insert(rows, token)
    assert partition.stored() == list(range(30))
    assert pipeline.check().accepted == 30


def test_an_announcement_that_starts_elsewhere_does_not_cut_batches(pipeline: Pipeline) -> None:
    """Rows of it are read back all the same, under whatever ranges the batches have now."""
    consume(pipeline, make_events(10))
    pipeline.publish(make_events(20))
    partition = OnePartition(pipeline)
    partition.announce(partition.intent(15, 24))
    partition.insert(partition.rows(15, 24), partition.token(15, 24))
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert partition.stored() == list(range(30))
    assert 15 not in [each.first_offset for each in partition.ranges()]
    assert pipeline.check().accepted == 30


def test_the_groups_offset_moves_nothing(pipeline: Pipeline) -> None:
    """Set to the earliest and to the latest, and beyond everything there is."""
    consume(pipeline, make_events(10))
    partition = OnePartition(pipeline)
    for count, offset in ((20, 0), (30, 20), (40, 1_000_000)):
        pipeline.publish(make_events(10))
        partition.set_offset(offset)
        with pipeline.running():
            pipeline.wait_until_caught_up()
        assert partition.stored() == list(range(count))
    assert pipeline.check().accepted == 40


def test_a_clock_that_is_an_hour_behind_is_read_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ClickHouse's clock was set after recovery: the first insert is too late, the next one is not."""
    engine_now, insert, late = EventWriter.engine_now, EventWriter.insert, list[str]()

    def behind(self: EventWriter) -> datetime:
        return engine_now(self) - timedelta(hours=0 if late else 1)

    def watch(self: EventWriter, batch: pa.RecordBatch, token: str, deadline: datetime | None = None) -> None:
        try:
            insert(self, batch, token, deadline)
        except InsertTooLate:
            late.append(token)
            raise

    monkeypatch.setattr(EventWriter, "engine_now", behind)
    monkeypatch.setattr(EventWriter, "insert", watch)
    consume(pipeline, make_events(10))
    assert len(late) == 1
    assert pipeline.check().accepted == 10


def test_an_insert_whose_answer_was_lost_is_not_repeated(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, tokens = EventWriter.insert, list[str]()

    def lose(self: EventWriter, batch: pa.RecordBatch, token: str, deadline: datetime | None = None) -> None:
        insert(self, batch, token, deadline)
        tokens.append(token)
        if len(tokens) == 1:
            raise StorageUnavailable("the answer was lost")

    monkeypatch.setattr(EventWriter, "insert", lose)
    consume(pipeline, make_events(10))
    assert len(tokens) == 1, "reading back found the rows"
    assert pipeline.check().accepted == 10


def test_a_token_that_was_taken_without_storing_anything_is_left_behind(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill of ClickHouse between its log of tokens and its parts."""
    insert, tokens = EventWriter.insert, list[str]()

    def forget(
        self: EventWriter, batch: pa.RecordBatch, token: str, deadline: datetime | None = None
    ) -> None:
        tokens.append(token[-2:])
        if len(tokens) > 2:
            insert(self, batch, token, deadline)

    monkeypatch.setattr(EventWriter, "insert", forget)
    consume(pipeline, make_events(10))
    assert tokens == ["r0", "r1", "r2"]
    assert pipeline.check().accepted == 10


def test_a_stop_while_clickhouse_is_away_ends_in_good_order(
    kafka_bootstrap: str, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, tried = (
        Pipeline(kafka_bootstrap, fresh_database, session_timeout_seconds=6.0),
        threading.Event(),
    )

    def away(*given: object) -> None:
        tried.set()
        raise StorageUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(EventWriter, "insert", away)
        with pipeline.running():
            pipeline.publish(make_events(10))
            assert tried.wait(120)
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert pipeline.check().accepted == 10
    pipeline.close()

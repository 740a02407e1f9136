from __future__ import annotations

from uuid import UUID, uuid4

import pyarrow as pa
import pytest

from auditlog_storage import stored
from auditlog_storage.stored import StoredRows
from storage.event_log import Log

pytestmark = pytest.mark.integration


def test_what_is_stored_is_read_back(shared_log: Log) -> None:
    log, rows = shared_log, StoredRows(shared_log.connection)
    topic_id = log.topic_id = uuid4()
    events = [log.event() for _ in range(5)]
    log.store(*events[:3], kafka_partition=2, first_offset=100)
    log.store(*events[3:], kafka_partition=2, first_offset=110)
    log.store(log.event(), kafka_partition=3, first_offset=100)
    found = rows.offsets(topic_id, 2, 101, 110)
    assert found.schema.names == ["kafka_offset", "event_id"]
    assert found.schema.types == [pa.int64(), pa.binary(16)]
    assert found.to_pydict() == {
        "kafka_offset": [101, 102, 110],
        "event_id": [event.event_id.bytes for event in events[1:4]],
    }
    assert rows.offsets(topic_id, 2, 103, 109).num_rows == 0
    assert rows.highest_offset(topic_id, 2) == 111
    assert rows.highest_offset(topic_id, 2, 111) == 111
    assert rows.highest_offset(topic_id, 2, 112) is None
    assert rows.highest_offset(uuid4(), 2) is None


def test_a_row_stored_twice_is_there_twice(shared_log: Log) -> None:
    topic_id = shared_log.topic_id = uuid4()
    event = shared_log.event()
    shared_log.store(event, first_offset=7)
    shared_log.store(event, first_offset=7)
    found = StoredRows(shared_log.connection).offsets(topic_id, 0, 0, 10)
    assert found.to_pydict() == {"kafka_offset": [7, 7], "event_id": [event.event_id.bytes] * 2}


def test_offsets_are_counted_once(shared_log: Log) -> None:
    rows, topic_id = StoredRows(shared_log.connection), uuid4()
    shared_log.topic_id = topic_id
    shared_log.store(*[shared_log.event() for _ in range(5)], first_offset=10)
    shared_log.store(shared_log.event(), first_offset=12)
    shared_log.store(shared_log.event(), first_offset=12, kafka_partition=1)
    assert rows.count(topic_id, 0, 0, 100) == 5
    assert rows.count(topic_id, 0, 12, 13) == 2
    assert rows.count(topic_id, 0, 12, 12) == 1
    assert rows.count(topic_id, 0, 15, 100) == 0
    assert rows.count(topic_id, 1, 0, 100) == 1
    assert rows.count(uuid4(), 0, 0, 100) == 0


def test_recent_ids_carry_their_accounts(shared_log: Log) -> None:
    topic_id = shared_log.topic_id = uuid4()
    events = [shared_log.event(account_id=f"acc_{n}") for n in range(3)]
    shared_log.store(*events, first_offset=0)
    found = StoredRows(shared_log.connection).recent_ids(topic_id, 0, 0, 1)
    assert found.schema.types == [pa.int64(), pa.string(), pa.binary(16)]
    assert found.to_pylist() == [
        {"kafka_offset": n, "account_id": f"acc_{n}", "event_id": events[n].event_id.bytes} for n in (0, 1)
    ]


@pytest.fixture(scope="module")
def merged_log(shared_log: Log) -> Log:
    """400,000 rows of one topic, merged into one part: about 49 granules."""
    log = shared_log
    log.topic_id = uuid4()
    batch = log.batch([log.event(account_id="acc_merged")])
    for first in range(0, 400_000, 100_000):
        offsets = pa.array(range(first, first + 100_000), pa.int64())
        ids = pa.array([UUID(int=n).bytes for n in range(first, first + 100_000)], pa.binary(16))
        rows = batch.take(pa.array([0] * 100_000, pa.int32()))
        rows = rows.set_column(rows.schema.names.index("kafka_offset"), "kafka_offset", offsets)
        log.writer.insert(rows.set_column(3, rows.schema.field(3), ids), uuid4().hex)
    log.connection.command("OPTIMIZE TABLE audit_events FINAL")
    return log


@pytest.mark.parametrize("name", ["_OFFSETS", "_HIGHEST", "_COUNT", "_IDS"])
def test_only_the_granules_of_the_range_are_read(merged_log: Log, name: str) -> None:
    wanted = {"topic_id": merged_log.topic_id, "kafka_partition": 0, "first_offset": 399_900}
    if name != "_HIGHEST":
        wanted |= {"last_offset": 399_950}
    plan = merged_log.explain(getattr(stored, name), wanted, stored._SETTINGS)
    assert "ReadFromMergeTree (by_offset)" in plan
    [read] = [line.split("Granules: ")[1] for line in plan.splitlines() if "Parts: 1 | Granules: " in line]
    assert int(read) <= 2


def test_a_large_range_is_read_back_whole(merged_log: Log) -> None:
    found = StoredRows(merged_log.connection).offsets(merged_log.topic_id, 0, 50_000, 149_999)
    assert found.num_rows == 100_000
    assert found["kafka_offset"].to_pylist() == list(range(50_000, 150_000))

from __future__ import annotations

from uuid import uuid4

import pyarrow as pa
import pytest

from auditlog_schemas.errors import StorageRejected, StorageUnavailable
from auditlog_storage.connection import Connection
from auditlog_storage.settings import StorageSettings
from auditlog_storage.tables import BATCH_ROWS_MAX, EVENT_ROWS
from auditlog_storage.writer import EventWriter
from storage.event_log import Log


def _count(log: Log) -> int:
    [(rows,)] = log.connection.query_rows(
        "SELECT count() FROM audit_events WHERE topic_id = {id:UUID}", {"id": log.topic_id}
    )
    return int(rows)


def _repeated(batch: pa.RecordBatch, rows: int) -> pa.RecordBatch:
    return batch.take(pa.array([0] * rows, pa.int32()))


@pytest.fixture
def offline() -> EventWriter:
    return EventWriter(Connection(StorageSettings.load(url="http://127.0.0.1:1/never")))


def test_too_many_rows_are_refused_before_they_are_sent(offline: EventWriter) -> None:
    columns = [pa.nulls(BATCH_ROWS_MAX + 1, field.type) for field in EVENT_ROWS]
    batch = pa.RecordBatch.from_arrays(columns, names=EVENT_ROWS.names)
    with pytest.raises(ValueError, match="at most 1,000,000 rows, this one has 1,000,001"):
        offline.insert(batch, "token")


def test_a_batch_of_other_columns_is_refused(offline: EventWriter) -> None:
    empty = pa.RecordBatch.from_pylist([], EVENT_ROWS)
    with pytest.raises(ValueError, match="a batch has the columns"):
        offline.insert(empty.select(EVENT_ROWS.names[1:]), "token")
    number = empty.set_column(1, "account_id", pa.array([], pa.int64()))
    with pytest.raises(ValueError, match="account_id has the Arrow type string, not int64"):
        offline.insert(number, "token")
    with pytest.raises(ValueError, match="needs a token"):
        offline.insert(empty, "")
    offline.insert(empty, "nothing to send, nothing sent")


@pytest.mark.integration
def test_a_token_stores_its_rows_once(log: Log) -> None:
    batch = log.batch([log.event(), log.event()])
    for _ in range(3):
        log.writer.insert(batch, "topic/0/0-1/r0")
    assert _count(log) == 2
    log.writer.insert(batch, "topic/0/0-1/r1")
    assert _count(log) == 4


@pytest.mark.integration
def test_a_known_token_drops_other_rows_and_says_ok(log: Log) -> None:
    """Why only reading back proves a store."""
    log.writer.insert(log.batch([log.event()]), "token")
    log.writer.insert(log.batch([log.event(), log.event()]), "token")
    assert _count(log) == 1


@pytest.mark.integration
def test_a_batch_is_one_block(log: Log) -> None:
    kinds = ["license", "order", "customer", "product"]
    events = [log.event(entity={"type": kind, "id": "x", "name": None}) for kind in kinds]
    batch = log.batch(events).take(pa.array(list(range(4)) * 60_000, pa.int32()))
    log.connection.command("SYSTEM STOP MERGES audit_events")
    log.writer.insert(batch, "token")
    parts = log.connection.query_rows(
        "SELECT partition, rows FROM system.parts WHERE active AND table = 'audit_events' "
        "AND database = currentDatabase()"
    )
    assert sorted(rows for _, rows in parts) == [60_000] * 4


@pytest.mark.integration
def test_text_may_come_in_any_arrow_form(shared_log: Log) -> None:
    log = shared_log
    account_id = uuid4().hex
    plain = log.batch([log.event(account_id=account_id)] * 3)
    batches = [plain]
    for type in (pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.string_view()):
        batch = plain
        for index, field in enumerate(EVENT_ROWS):
            if field.type == pa.string():
                batch = batch.set_column(index, field.name, batch.column(index).cast(type))
        batches.append(batch)
    for batch in batches:
        log.writer.insert(batch, uuid4().hex)
    [(rows, kinds)] = log.connection.query_rows(
        "SELECT count(), uniqExact((actor_name, entity_name, user_agent, request_id, ip, entity_id, action)) "
        "FROM audit_events WHERE account_id = {id:String}",
        {"id": account_id},
    )
    assert (rows, kinds) == (12, 1)


@pytest.mark.integration
@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_a_batch_may_travel_compressed(shared_log: Log, compression: str) -> None:
    log = shared_log
    settings = log.connection.settings.model_copy(update={"insert_compression": compression})
    account_id = uuid4().hex
    with Connection(settings) as connection:
        EventWriter(connection).insert(
            _repeated(log.batch([log.event(account_id=account_id)]), 5_000), uuid4().hex
        )
    sql = "SELECT count() FROM audit_events WHERE account_id = {id:String}"
    assert log.connection.query_rows(sql, {"id": account_id}) == [(5_000,)]


@pytest.mark.integration
def test_a_row_in_the_wrong_bucket_is_refused_with_its_batch(log: Log) -> None:
    """A reader looks in an account's own bucket only, so such a row would never be seen."""
    batch = log.batch([log.event(), log.event()])
    wrong = pa.array([log.bucket("acc_1"), (log.bucket("acc_1") + 1) % 8], pa.uint8())
    with pytest.raises(StorageRejected, match="breaks a constraint") as raised:
        log.writer.insert(batch.set_column(0, "account_bucket", wrong), "token")
    assert raised.value.code == 469
    assert _count(log) == 0


@pytest.mark.integration
def test_a_failure_while_storing_is_not_acknowledged(log: Log) -> None:
    entities = [{"type": kind, "id": "x", "name": None} for kind in ("license", "order")]
    batch = log.batch([log.event(entity=entity) for entity in entities])
    with pytest.raises(StorageUnavailable):
        log.connection.insert_batch("audit_events", batch, "token", {"max_partitions_per_insert_block": 1})
    assert _count(log) == 0


@pytest.mark.integration
def test_a_null_where_none_may_be_is_refused(log: Log) -> None:
    batch = log.batch([log.event()])
    index = EVENT_ROWS.names.index("actor_id")
    with pytest.raises(StorageRejected):
        log.writer.insert(batch.set_column(index, "actor_id", pa.array([None], pa.string())), "token")
    assert _count(log) == 0

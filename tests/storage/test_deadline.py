"""Inserts with a deadline: too late means nothing stored and the token free, in time means as without one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pyarrow as pa
import pytest

from auditlog_schemas.errors import StorageRejected, StorageUnavailable
from auditlog_storage.connection import Connection
from auditlog_storage.deadline import InsertTooLate
from auditlog_storage.ledger import Ledger, Range
from auditlog_storage.settings import StorageSettings
from auditlog_storage.stored import StoredRows
from auditlog_storage.tables import EVENT_ROWS
from auditlog_storage.writer import EventWriter
from storage.event_log import Log
from storage.slow_door import SlowDoor

pytestmark = pytest.mark.integration

KINDS = ["license", "order", "customer", "product"]


def soon(log: Log, seconds: float = 30.0) -> datetime:
    return log.writer.engine_now() + timedelta(seconds=seconds)


def several(log: Log, first_offset: int = 0) -> pa.RecordBatch:
    """Return one row for each of four partitions of the table."""
    events = [log.event(entity={"type": kind, "id": "x", "name": None}) for kind in KINDS]
    return log.batch(events, first_offset=first_offset)


def offsets(log: Log) -> list[int]:
    found = StoredRows(log.connection).offsets(log.topic_id, 0, 0, 1_000)
    return [int(row["kafka_offset"]) for row in found.to_pylist()]


@pytest.fixture
def fresh(shared_log: Log) -> Log:
    shared_log.topic_id = uuid4()
    return shared_log


def test_the_engines_clock_is_aware_and_goes_on(fresh: Log) -> None:
    first, second = fresh.writer.engine_now(), fresh.writer.engine_now()
    assert first.tzinfo is UTC or first.utcoffset() == timedelta(0)
    assert first <= second
    assert abs(datetime.now(UTC) - first) < timedelta(seconds=5), "the engine runs on this machine"


def test_rows_in_time_are_stored_as_they_are_without_a_deadline(fresh: Log) -> None:
    """Every column comes through the SELECT unchanged: nullable ones, arrays, maps, dictionaries."""
    plain = several(fresh)
    fresh.writer.insert(plain, uuid4().hex)
    columns = "* EXCEPT (topic_id)"
    rows = "SELECT {} FROM audit_events WHERE topic_id = {{id:UUID}} ORDER BY kafka_offset"
    expected = fresh.connection.query_rows(rows.format(columns), {"id": fresh.topic_id})
    fresh.topic_id = uuid4()
    again = plain.set_column(
        plain.schema.names.index("topic_id"),
        plain.schema.field("topic_id"),
        pa.array([fresh.topic_id.bytes] * 4, pa.binary(16)),
    )
    for name in ("account_id", "action", "ip"):
        index = again.schema.names.index(name)
        again = again.set_column(index, name, again.column(index).dictionary_encode())
    fresh.writer.insert(again, uuid4().hex, soon(fresh))
    assert fresh.connection.query_rows(rows.format(columns), {"id": fresh.topic_id}) == expected
    assert len(expected) == 4


def test_rows_too_late_are_not_stored_and_leave_their_token_free(fresh: Log) -> None:
    batch, token = several(fresh), uuid4().hex
    for seconds in (-60.0, -0.1):
        with pytest.raises(InsertTooLate, match="reached ClickHouse after") as raised:
            fresh.writer.insert(batch, token, soon(fresh, seconds))
        assert isinstance(raised.value, StorageUnavailable), "it may be tried again"
    assert offsets(fresh) == []
    fresh.writer.insert(batch, token, soon(fresh))
    assert offsets(fresh) == [0, 1, 2, 3]


def test_a_token_is_the_same_with_any_deadline_and_without(fresh: Log) -> None:
    batch, token = several(fresh), uuid4().hex
    for deadline in (soon(fresh), soon(fresh, 45.0), None, soon(fresh, 60.0)):
        fresh.writer.insert(batch, token, deadline)
    assert offsets(fresh) == [0, 1, 2, 3]
    with pytest.raises(InsertTooLate):
        fresh.writer.insert(batch, token, soon(fresh, -5.0))
    fresh.writer.insert(batch, f"{token}/r1", soon(fresh))
    assert offsets(fresh) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_token_that_comes_without_a_deadline_first(fresh: Log) -> None:
    batch, token = several(fresh), uuid4().hex
    fresh.writer.insert(batch, token)
    fresh.writer.insert(batch, token, soon(fresh))
    assert offsets(fresh) == [0, 1, 2, 3]


def test_the_rest_of_a_batch_under_its_token_goes_where_nothing_was_stored(fresh: Log) -> None:
    """After a crash that kept some of the parts: a token is known in each partition of the table."""
    batch, token = several(fresh), uuid4().hex
    fresh.writer.insert(batch.slice(0, 2), token, soon(fresh))
    fresh.writer.insert(batch.slice(2, 2), token, soon(fresh))
    assert offsets(fresh) == [0, 1, 2, 3]


def test_a_large_batch_with_a_deadline_is_one_block(log: Log) -> None:
    """One part for each partition of the table, however many rows; twice the token, still one."""
    batch = several(log).take(pa.array(list(range(4)) * 60_000, pa.int32()))
    log.connection.command("SYSTEM STOP MERGES audit_events")
    for _ in range(2):
        log.writer.insert(batch, "token", soon(log))
    parts = log.connection.query_rows(
        "SELECT rows FROM system.parts WHERE active AND table = 'audit_events' "
        "AND database = currentDatabase()"
    )
    assert parts == [(60_000,)] * 4


def test_a_batch_of_a_million_rows_with_a_deadline_is_one_block(log: Log) -> None:
    batch = log.batch([log.event()]).take(pa.array([0] * 1_000_000, pa.int32()))
    log.connection.command("SYSTEM STOP MERGES audit_events")
    log.writer.insert(batch, "token", soon(log, 120.0))
    parts = log.connection.query_rows(
        "SELECT rows FROM system.parts WHERE active AND table = 'audit_events' "
        "AND database = currentDatabase()"
    )
    assert parts == [(1_000_000,)]


def through(log: Log, door: SlowDoor) -> Connection:
    address = log.connection.address
    url = f"http://{address.user}:@127.0.0.1:{door.port}/{address.database}"
    return Connection(StorageSettings.load(url=url))


def late_or_not(log: Log, insert: Callable[[Connection, datetime], None], seconds: float) -> None:
    """Insert with a deadline after the request's beginning and 1.2 s before its last bytes arrive."""
    address = log.connection.address
    with SlowDoor(address.host, address.port) as door, through(log, door) as connection:
        connection.wait_until_ready(10)
        door.hold(1.2)
        insert(connection, soon(log, seconds))


def test_a_body_that_arrives_late_is_not_stored(fresh: Log) -> None:
    """The request came in time and its rows did not: a sender that was stopped on the way."""
    batch = several(fresh).take(pa.array([0, 1, 2, 3] * 2_000, pa.int32()))

    def insert(connection: Connection, deadline: datetime) -> None:
        EventWriter(connection).insert(batch, uuid4().hex, deadline)

    with pytest.raises(InsertTooLate):
        late_or_not(fresh, insert, 0.6)
    assert offsets(fresh) == []
    late_or_not(fresh, insert, 30.0)
    assert len(offsets(fresh)) == 8_000


def test_other_errors_of_an_insert_with_a_deadline_stay_what_they_are(fresh: Log) -> None:
    batch = several(fresh)
    wrong = pa.array([(fresh.bucket("acc_1") + 1) % 8] * 4, pa.uint8())
    with pytest.raises(StorageRejected, match="breaks a constraint"):
        fresh.writer.insert(batch.set_column(0, "account_bucket", wrong), uuid4().hex, soon(fresh))
    index = EVENT_ROWS.names.index("actor_id")
    nothing = batch.set_column(index, "actor_id", pa.array([None] * 4, pa.string()))
    with pytest.raises(StorageRejected):
        fresh.writer.insert(nothing, uuid4().hex, soon(fresh))
    assert offsets(fresh) == []


def test_nothing_is_sent_for_no_rows(fresh: Log) -> None:
    fresh.writer.insert(several(fresh).slice(0, 0), uuid4().hex, soon(fresh, -60.0))


def test_a_ledger_row_too_late_overwrites_nothing(fresh: Log) -> None:
    ledger, now = Ledger(fresh.connection), datetime.now(UTC).replace(microsecond=0)
    topic_id = fresh.topic_id
    short = Range("audit.events", topic_id, 0, 0, 9, 10, 0, 0, 0, "auditlog", now)
    long = Range("audit.events", topic_id, 0, 0, 99, 100, 0, 0, 0, "auditlog", now)
    ledger.append(short, soon(fresh))
    with pytest.raises(InsertTooLate):
        ledger.append(long, soon(fresh, -1.0))
    assert ledger.furthest(topic_id, 0) == short
    ledger.append(long, soon(fresh))
    assert ledger.furthest(topic_id, 0) == long

"""How the engine answers the reader's questions: by partition, key and index, not by reading all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
import pytest

from auditlog_schemas.errors import NotFound
from auditlog_storage.connection import Settings
from auditlog_storage.filters import EventFilter
from auditlog_storage.ledger import Ledger
from auditlog_storage.ledger_ends import LedgerEnds
from auditlog_storage.reader import LogReader
from auditlog_storage.search import parse_search
from storage.event_log import Log
from storage.test_ledger_threads import range_of

pytestmark = pytest.mark.integration

ROWS = 120_000
RARE = UUID(int=77)


@pytest.fixture(scope="module")
def big_log(shared_log: Log) -> Log:
    """120,000 merged rows: a big account, and one rare event of it, among others in other buckets."""
    log = shared_log
    others = [f"acc_{number}" for number in range(30)]
    log.store(
        log.event(
            account_id="acc_big",
            event_id=str(RARE),
            entity={"type": "license", "id": "lic_rare", "name": "Raritätenkabinett"},
            actor={"type": "system", "id": "usr_rare", "name": None, "email": None, "impersonator_id": None},
            context={"ip": None, "user_agent": None, "request_id": "req_rare"},
            occurred_at=1_772_000_000_000_000,
        )
    )
    for account in ("acc_big", *others):
        rows = ROWS if account == "acc_big" else 2_000
        batch = log.batch([log.event(account_id=account)]).take(pa.array([0] * rows, pa.int32()))
        micros = pa.array(range(1_772_000_000_000_000, 1_772_000_000_000_000 + rows), pa.int64())
        times = micros.cast(pa.timestamp("us", "UTC"))
        log.writer.insert(batch.set_column(2, batch.schema.field(2), times), uuid4().hex)
        log.record(batch)
    log.connection.command("OPTIMIZE TABLE audit_events FINAL")
    return log


class Explainer:
    """Stands in for a connection and keeps the plan of the query on events that it is asked."""

    def __init__(self, log: Log) -> None:
        self.settings = log.connection.settings
        self.log = log
        self.plan = ""

    def query_rows(self, sql: str, *given: Any) -> list[Any]:
        if "audit_events" not in sql:
            # The ledger's ends, which the question is made of, and the key of cursors.
            return self.log.connection.query_rows(sql, *given)
        self.plan = self.log.explain(sql, *given)
        return []


def _plan(log: Log, read: Callable[[LogReader], object]) -> str:
    explainer = Explainer(log)
    with suppress(NotFound):
        read(LogReader(explainer))  # type: ignore[arg-type]
    return explainer.plan


def _granules(plan: str) -> int:
    """Granules that are read in the end."""
    [read] = [
        line.split("Granules: ")[1] for line in plan.splitlines() if "Granules: " in line and "|" in line
    ]
    return int(read)


def test_a_page_reads_backwards_from_the_newest(big_log: Log) -> None:
    plan = _plan(big_log, lambda reader: reader.timeline("acc_big"))
    assert "Read type: InReverseOrder" in plan
    assert "account_bucket in" in plan, "other buckets' partitions are not opened"
    assert "account_id in ['acc_big', 'acc_big']" in plan


def test_a_later_page_starts_at_its_position(big_log: Log) -> None:
    reader = LogReader(big_log.connection)
    cursor = None
    for _ in range(3):
        cursor = reader.timeline("acc_big", limit=1_000, cursor=cursor).next_cursor
    plan = _plan(big_log, lambda reader: reader.timeline("acc_big", limit=1_000, cursor=cursor))
    assert "Read type: InReverseOrder" in plan
    assert "occurred_at in (-Inf" in plan


def test_an_item_reads_few_granules(big_log: Log) -> None:
    plan = _plan(big_log, lambda reader: reader.item("acc_big", "license", "lic_rare"))
    assert "Name: by_item" in plan
    assert _granules(plan) <= 2
    assert _granules(_plan(big_log, lambda reader: reader.timeline("acc_big"))) > 10


def test_an_event_reads_few_granules(big_log: Log) -> None:
    plan = _plan(big_log, lambda reader: reader.event("acc_big", RARE))
    assert "Name: by_event" in plan
    assert _granules(plan) <= 2
    assert LogReader(big_log.connection).event("acc_big", RARE).event.entity.id == "lic_rare"


@pytest.mark.parametrize(
    ("search", "index"),
    [("actor:usr_rare", "by_actor"), ("request:req_rare", "by_request"), ("raritätenkabinett", "by_word")],
)
def test_a_rare_value_reads_few_granules(big_log: Log, search: str, index: str) -> None:
    asked = EventFilter(search=parse_search(search, datetime.now(UTC)))
    plan = _plan(big_log, lambda reader: reader.timeline("acc_big", asked))
    assert f"Name: {index}" in plan
    assert _granules(plan) <= 2
    [found] = LogReader(big_log.connection).timeline("acc_big", asked).events
    assert found.event.event_id == RARE


@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.facet("acc_big", EventFilter(), "action"),
        lambda reader: reader.facet("acc_big", EventFilter(actions=("license_updated",)), "source"),
        lambda reader: reader.facet("acc_big", EventFilter(), "entity_type"),
        lambda reader: reader.facet("acc_big", EventFilter(), "actor_type"),
        lambda reader: reader.counts_by_action("acc_big"),
    ],
)
def test_a_whole_log_is_counted_by_days(big_log: Log, read: Callable[[LogReader], object]) -> None:
    plan = _plan(big_log, read)
    assert "ReadFromMergeTree (counts_by_day)" in plan
    assert _granules(plan) <= 2


@pytest.mark.parametrize(("field", "projection"), [("actor", "counts_by_actor"), ("ip", "counts_by_address")])
def test_a_whole_log_is_counted_by_value(big_log: Log, field: str, projection: str) -> None:
    plan = _plan(big_log, lambda reader: reader.facet("acc_big", EventFilter(), field))
    assert f"ReadFromMergeTree ({projection})" in plan
    assert _granules(plan) <= 2


def test_a_part_of_a_log_is_counted_event_by_event(big_log: Log) -> None:
    plan = _plan(big_log, lambda reader: reader.facet("acc_big", EventFilter(actor_id="usr_rare"), "ip"))
    assert "counts_by" not in plan
    assert "Name: by_actor" in plan


@pytest.mark.parametrize(
    "statement", ["DELETE FROM audit_events WHERE", "ALTER TABLE audit_events DELETE WHERE"]
)
def test_what_is_deleted_is_not_counted_any_more(log: Log, statement: str) -> None:
    """Unlike `by_offset`, which `DELETE FROM` leaves as it was."""
    events = [log.event(action=action) for action in ("license_reset", "license_reset", "order_created")]
    actor, address = events[0].actor.id, events[0].context.ip
    log.store(*events)
    log.connection.command(f"{statement} kafka_offset = 0", settings={"mutations_sync": 2})
    for projection, value, left in (
        ("counts_by_day", "action", [("license_reset", 1), ("order_created", 1)]),
        ("counts_by_actor", "actor_id", [(actor, 2)]),
        ("counts_by_address", "ifNull(ip, '')", [(address or "", 2)]),
    ):
        counts = f"SELECT {value} AS value, count() FROM audit_events GROUP BY value ORDER BY value"
        only = {"force_optimize_projection_name": projection}
        assert log.connection.query_rows(counts, {}, only) == left


def test_a_histogram_of_days_is_counted_by_days(big_log: Log) -> None:
    account = f"acc_{uuid4().hex}"
    days = [1_700_000_000_000_000 + day * 86_400_000_000 for day in range(200)]
    big_log.store(*(big_log.event(account_id=account, occurred_at=day) for day in days))
    asked: list[str] = []

    def query_rows(sql: str, parameters: dict[str, object], settings: dict[str, Any]) -> list[Any]:
        asked.append(big_log.explain(sql, parameters, settings))
        return big_log.connection.query_rows(sql, parameters, settings)

    spied = SimpleNamespace(settings=big_log.connection.settings, query_rows=query_rows)
    assert LogReader(spied).histogram(account, bars_max=300).total == 200  # type: ignore[arg-type]
    ends, counts = asked
    assert "Read type: InOrder" in ends
    assert "Read type: InReverseOrder" in ends
    assert "ReadFromMergeTree (counts_by_day)" in counts


def test_the_ledgers_ends_cost_the_same_in_a_long_ledger(big_log: Log) -> None:
    """Of 400,000 ranges of one partition only the last few granules are read."""
    topic_id = uuid4()
    big_log.connection.command(
        """
        INSERT INTO audit_ranges
        SELECT 'long', {topic_id:UUID}, 0, number, number, 1, 0, 0, 0, 'committed', 'tests', now64(3)
        FROM numbers(400000)
        """,
        {"topic_id": topic_id},
    )
    read: list[int] = []
    client = big_log.connection._connected()

    def counted(sql: str, values: Mapping[str, object], settings: Settings) -> list[tuple[Any, ...]]:
        result = client.query(sql, parameters=dict(values), settings=dict(settings))
        read.append(int(result.summary["read_rows"]))
        return [tuple(row) for row in result.result_rows]

    ends = LedgerEnds(counted)
    [end] = [end for end in ends.read() if end.topic_id == topic_id]
    assert end.next_offset == 400_000
    assert sum(read) < 100_000
    read.clear()
    assert end in ends.read()
    assert len(read) == 1
    assert read[0] < 60_000
    furthest = Ledger(big_log.connection).furthest(topic_id, 0)
    assert furthest is not None
    assert furthest.next_offset == end.next_offset


def test_ends_move_on_and_new_partitions_and_topics_are_found(shared_log: Log) -> None:
    ledger, topic_id, later_id = Ledger(shared_log.connection), uuid4(), uuid4()
    ledger.append(range_of(0, 0, 9, topic_id))
    ends = LedgerEnds(shared_log.connection.query_rows)

    def found() -> dict[tuple[UUID, int], int]:
        ours = (end for end in ends.read() if end.topic_id in (topic_id, later_id))
        return {(end.topic_id, end.kafka_partition): end.next_offset for end in ours}

    assert found() == {(topic_id, 0): 10}
    ledger.append(range_of(0, 10, 19, topic_id))
    ledger.append(range_of(3, 0, 4, topic_id))
    ledger.append(range_of(1, 0, 0, later_id))
    ledger.append(range_of(1, 1, 6, later_id))
    assert found() == {(topic_id, 0): 20, (topic_id, 3): 5, (later_id, 1): 7}
    assert set(LedgerEnds(shared_log.connection.query_rows).read()) == set(ends.read())


def test_the_view_keeps_keys_and_indexes(big_log: Log) -> None:
    sql = """
        SELECT count() FROM audit_log_v1
        WHERE account_id = {account:String} AND has(item_keys, 'license/lic_rare')
    """
    plan = big_log.explain(sql, {"account": "acc_big"}, {})
    assert "account_id in ['acc_big', 'acc_big']" in plan
    assert "Name: by_item" in plan

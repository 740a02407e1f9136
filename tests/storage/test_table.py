from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from auditlog_storage.table import Column, Table, quoted
from auditlog_storage.tables import AUDIT_EVENTS, AUDIT_RANGES, EVENT_ROWS

TABLE = Table(
    name="t",
    columns=(
        Column("a", "String", pa.string(), codec="ZSTD(1)"),
        Column("b", "Nullable(Int64)", pa.int64(), nullable=True),
        Column("c", "String", materialized="upper(a)"),
    ),
    engine="MergeTree",
    partition_by="b",
    order_by="a",
    extras=("INDEX i a TYPE minmax",),
    settings={"n": 1, "s": "it's"},
)


def test_the_statement() -> None:
    assert TABLE.create() == (
        "CREATE TABLE IF NOT EXISTS `t` (\n"
        "    `a` String CODEC(ZSTD(1)),\n"
        "    `b` Nullable(Int64),\n"
        "    `c` String MATERIALIZED upper(a),\n"
        "    INDEX i a TYPE minmax\n"
        ")\n"
        "ENGINE = MergeTree\n"
        "PARTITION BY b\n"
        "ORDER BY a\n"
        "SETTINGS n = 1, s = 'it\\'s'"
    )


def test_rows_are_the_insertable_columns() -> None:
    assert [(row.name, row.type, row.nullable) for row in TABLE.rows] == [
        ("a", pa.string(), False),
        ("b", pa.int64(), True),
    ]


def test_a_cluster_is_a_matter_of_data() -> None:
    replicated = replace(AUDIT_EVENTS, engine="ReplicatedMergeTree").create()
    assert "ENGINE = ReplicatedMergeTree\n" in replicated
    assert replicated.replace("ReplicatedMergeTree", "MergeTree") == AUDIT_EVENTS.create()


def test_quoting() -> None:
    assert quoted("a`b\\c") == "`a\\`b\\\\c`"


def test_the_columns_of_an_event_are_these_in_this_order() -> None:
    assert EVENT_ROWS.names == [
        *("account_bucket", "account_id", "occurred_at", "event_id", "action", "action_version"),
        *("entity_type", "entity_id", "entity_name", "related"),
        *("source_service", "source_instance_id", "source_sequence"),
        *("actor_type", "actor_id", "actor_name", "actor_email", "actor_impersonator_id"),
        *("ip", "user_agent", "request_id", "changes", "metadata"),
        *("topic_id", "kafka_partition", "kafka_offset", "received_at"),
    ]
    assert [field.name for field in EVENT_ROWS if field.nullable] == [
        *("entity_name", "actor_name", "actor_email", "actor_impersonator_id"),
        *("ip", "user_agent", "request_id"),
    ]


def test_an_acknowledged_row_is_on_disk() -> None:
    for table in (AUDIT_EVENTS, AUDIT_RANGES):
        assert table.settings["fsync_after_insert"] == table.settings["fsync_part_directory"] == 1

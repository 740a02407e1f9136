"""What docs/operations.md tells an operator to do, done: with its own statements and the real consumer."""

from __future__ import annotations

import re
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from auditlog_consumer.service import consume
from auditlog_consumer.topics import Topics
from auditlog_schemas.errors import ConfigError, TerminalError
from kit.events import make_event
from kit.pipeline import Pipeline

pytestmark = [pytest.mark.integration, pytest.mark.long]

RUNBOOK: Final = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8")


def statement(section: str) -> str:
    """Return the SQL that a section of the runbook shows."""
    text = RUNBOOK.split(f"\n## {section}\n")[1].split("\n## ")[0]
    [found] = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    return str(found)


def consume_some(pipeline: Pipeline, count: int, batches: int = 1) -> None:
    """Publish and consume so many events, all of one partition, in so many ranges at least."""
    for _ in range(batches):
        pipeline.publish([make_event() for _ in range(count // batches)])
        with pipeline.running():
            pipeline.wait_until_caught_up()


def place(pipeline: Pipeline) -> dict[str, object]:
    """Return the topic id and the one partition that is used."""
    [row] = pipeline.connection.query_rows("SELECT DISTINCT topic_id, kafka_partition FROM audit_events")
    return {"topic_id": row[0], "partition": row[1]}


def require_whole(pipeline: Pipeline, count: int) -> None:
    """Let a consumer catch up; then everything is stored once."""
    with pipeline.running():
        pipeline.wait_until_caught_up()
    assert pipeline.check().accepted == count
    ids = pipeline.stored_ids()
    assert (len(ids), len(set(ids))) == (count, count)


def test_a_ledger_taken_back_together_with_its_rows(pipeline: Pipeline) -> None:
    """As after a restore of both tables; the engine still remembers the tokens of the rows that are gone."""
    consume_some(pipeline, 30, batches=3)
    where = place(pipeline) | {"first_offset": 10}
    pipeline.connection.command(statement("restored from a backup"), where)
    sql = "ALTER TABLE audit_events DELETE WHERE kafka_offset >= 10"
    pipeline.connection.command(sql, settings={"mutations_sync": 2})
    assert len(pipeline.stored_ids()) == 10
    require_whole(pipeline, 30)


def test_a_ledger_that_is_older_than_the_rows(pipeline: Pipeline) -> None:
    consume_some(pipeline, 30, batches=3)
    where = place(pipeline) | {"first_offset": 10}
    pipeline.connection.command(statement("restored from a backup"), where)
    require_whole(pipeline, 30)


def test_a_gap_in_the_ledger_is_closed_by_taking_it_back(pipeline: Pipeline) -> None:
    consume_some(pipeline, 40, batches=4)
    sql = "ALTER TABLE audit_ranges DELETE WHERE first_offset BETWEEN 10 AND 19"
    pipeline.connection.command(sql, settings={"mutations_sync": 2})
    [gap, *_] = pipeline.report().findings
    assert gap.kind == "ledger_gap"
    where = place(pipeline) | {"first_offset": gap.first_offset}
    pipeline.connection.command(statement("restored from a backup"), where)
    require_whole(pipeline, 40)


def test_a_row_that_contradicts_kafka_is_removed_and_refilled(pipeline: Pipeline) -> None:
    from auditlog_consumer.repair import repair
    from auditlog_consumer.service import build_judge

    consume_some(pipeline, 10)
    where = place(pipeline) | {"offset": 4}
    text = RUNBOOK.split("\n## stored rows contradict Kafka\n")[1].split("\n## ")[0]
    select, delete = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert len(pipeline.connection.query_rows(select, where)) == 1
    pipeline.connection.command(delete, where)
    assert len(pipeline.stored_ids()) == 9
    done = repair(pipeline.connection, pipeline.settings, build_judge(pipeline.settings), "tester")
    assert (done.stored, done.report.ok) == (1, True)


def test_a_stale_projection_is_mended(pipeline: Pipeline) -> None:
    consume_some(pipeline, 10)
    pipeline.connection.command("DELETE FROM audit_events WHERE kafka_offset = 4")
    kinds = [finding.kind for finding in pipeline.report().findings]
    assert kinds == ["stale_projection", "missing_rows"]
    pipeline.connection.command(statement("stale projection"))
    assert [finding.kind for finding in pipeline.report().findings] == ["missing_rows"]


def test_group_offsets_that_were_deleted_do_no_harm(pipeline: Pipeline) -> None:
    consume_some(pipeline, 20, batches=2)
    admin = AdminClient({"bootstrap.servers": pipeline.settings.kafka})
    admin.delete_consumer_groups([pipeline.settings.group])[pipeline.settings.group].result(60)
    pipeline.publish([make_event() for _ in range(10)])
    require_whole(pipeline, 30)


def test_partitions_that_are_added_are_read(pipeline: Pipeline) -> None:
    consume_some(pipeline, 20)
    admin = AdminClient({"bootstrap.servers": pipeline.settings.kafka})
    more = NewPartitions(pipeline.topic, 11)
    admin.create_partitions([more])[pipeline.topic].result(60)
    assert Topics(pipeline.settings.kafka).describe(pipeline.topic).partitions == 11
    pipeline.publish([make_event(account_id=f"acc_{number}") for number in range(100)])
    require_whole(pipeline, 120)


def test_of_two_groups_that_start_at_once_one_records_and_the_other_ends(pipeline: Pipeline) -> None:
    pipeline.publish([make_event(account_id=f"acc_{number}") for number in range(200)])
    stop, start = threading.Event(), threading.Barrier(2)

    def run(group: str) -> None:
        start.wait()
        consume(pipeline.settings.model_copy(update={"group": group}), pipeline.connection, stop)

    names = [pipeline.settings.group, f"{pipeline.settings.group}-2"]
    with ThreadPoolExecutor(2) as threads:
        running = {name: threads.submit(run, name) for name in names}
        wait(running.values(), 180, FIRST_COMPLETED)
        [refused] = [name for name in names if running[name].done()]
        [holder] = set(names) - {refused}
        pipeline.settings = pipeline.settings.model_copy(update={"group": holder})
        pipeline.wait_until_caught_up()
        stop.set()
    with pytest.raises(ConfigError, match=f"is recorded by consumer group '{holder}'"):
        running[refused].result()
    running[holder].result()
    assert len(pipeline.stored_ids()) == 200
    assert pipeline.check().accepted == 200


def test_another_group_is_refused_until_it_takes_over(pipeline: Pipeline) -> None:
    consume_some(pipeline, 10)
    first = pipeline.settings
    pipeline.settings = first.model_copy(update={"group": f"{first.group}-2"})
    pipeline.publish([make_event() for _ in range(10)])
    with pytest.raises(TerminalError, match="'another consumer group'"), pipeline.running():
        pipeline.wait_until_caught_up()
    pipeline.settings = pipeline.settings.model_copy(update={"takes_over_group": first.group})
    require_whole(pipeline, 20)
    [finding] = pipeline.report().findings
    assert (finding.severity, finding.kind) == ("warning", "ledger_groups")

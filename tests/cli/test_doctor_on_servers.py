"""`auditlog doctor` on real servers: everything in order, and the ways in which a consumer gets stuck."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from confluent_kafka.admin import AdminClient

from auditlog_cli.doctor import progress
from auditlog_consumer.topics import Topics
from auditlog_local.child import Child
from auditlog_local.ports import free_ports
from cli.ran import Run
from kit import servers
from kit.events import make_event
from kit.pipeline import Pipeline
from kit.stopwatch import Stopwatch
from kit.topic_settings import alter
from kit.transactions import Transactions

pytestmark = [pytest.mark.integration, pytest.mark.long]


@pytest.fixture(scope="module")
def own_clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, str]]:
    """A ClickHouse that this module may stop."""
    with servers.own_clickhouse(tmp_path_factory.mktemp("doctor")) as started:
        yield started


@pytest.fixture
def pipeline(kafka_bootstrap: str, own_clickhouse: tuple[Child, str]) -> Iterator[Pipeline]:
    made = Pipeline(kafka_bootstrap, f"{own_clickhouse[1]}/doctor_{os.urandom(4).hex()}")
    yield made
    made.close()


@dataclass(frozen=True)
class Line:
    status: str
    found: str
    next: str


class Doctor:
    """Runs the command on a pipeline; answers by name."""

    def __init__(self, run: Run, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        self._run = run
        monkeypatch.setenv("AUDITLOG_KAFKA", pipeline.settings.kafka)
        monkeypatch.setenv("AUDITLOG_CLICKHOUSE_URL", pipeline.connection.settings.url.get_secret_value())
        monkeypatch.setenv("AUDITLOG_TOPIC", pipeline.topic)
        monkeypatch.setenv("AUDITLOG_GROUP", pipeline.settings.group)
        # As much as two looks need.
        monkeypatch.setattr(progress, "LOOK_PAUSE_SECONDS", 1.0)
        monkeypatch.setattr(progress, "WATCHED_SECONDS_MAX", 2.0)

    def look(self) -> tuple[int, dict[str, Line]]:
        ran = self._run("doctor", "--json")
        # Log lines of a consumer that runs in this process stand between.
        lines = [json.loads(line) for line in ran.out.splitlines() if line.startswith("{")]
        return ran.code, {one["name"]: Line(one["status"], one["found"], one["next"]) for one in lines}


@pytest.fixture
def doctor(run: Run, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    return Doctor(run, pipeline, monkeypatch)


@contextmanager
def stopped(child: Child) -> Iterator[None]:
    """SIGSTOP the engine inside: its port accepts connections and nobody answers."""
    assert child.pid is not None
    os.killpg(child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(child.pid, signal.SIGCONT)


def one_partition(lines: dict[str, Line]) -> Line:
    [found] = [line for name, line in lines.items() if name.startswith("partition ")]
    return found


def test_nothing_is_wrong(pipeline: Pipeline, doctor: Doctor) -> None:
    pipeline.publish([make_event(account_id=f"acc_{number}") for number in range(50)])
    with pipeline.running():
        pipeline.wait_until_caught_up()
        code, lines = doctor.look()
    assert code == 0, lines
    assert {line.status for line in lines.values()} <= {"ok", "note"}
    looked_at = {"kafka", "topic", "dead letters", "clickhouse", "tables", "clock", "engine disk", "parts"}
    assert looked_at | {"inserts", "consumers", "lag"} <= lines.keys()
    assert lines["dead letters"].found.endswith("can be written")
    assert "has 0-7" in lines["consumers"].found


def test_no_consumer_runs(pipeline: Pipeline, doctor: Doctor) -> None:
    pipeline.publish([make_event()])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    pipeline.publish([make_event() for _ in range(9)])
    code, lines = doctor.look()
    assert code == 1
    assert lines["consumers"].status == "wrong"
    assert "9 messages wait, none are done" in lines["lag"].found
    stuck = one_partition(lines)
    assert "9 messages wait from offset 1 on, the first since " in stuck.found
    assert "nobody has it; nothing is announced" in stuck.found
    assert "`auditlog consume`" in stuck.next


def test_another_group_has_the_ledger(
    pipeline: Pipeline, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.publish([make_event()])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    pipeline.publish([make_event()])
    monkeypatch.setenv("AUDITLOG_GROUP", "somebody-else")
    code, lines = doctor.look()
    assert code == 1
    assert lines["group"].status == "wrong"
    assert repr(pipeline.settings.group) in lines["group"].found
    assert "'another consumer group'" in lines["group"].next
    assert "mend what is said above about group" in one_partition(lines).next


def test_inserts_fail(pipeline: Pipeline, doctor: Doctor) -> None:
    """A consumer that has its partition, has announced a batch and cannot store it."""
    with pipeline.running():
        pipeline.publish([make_event()])
        pipeline.wait_until_caught_up()
        pipeline.connection.command("ALTER TABLE audit_events MODIFY SETTING parts_to_throw_insert = 1")
        pipeline.publish([make_event() for _ in range(4)])
        time.sleep(2)
        code, lines = doctor.look()
        pipeline.connection.command("ALTER TABLE audit_events RESET SETTING parts_to_throw_insert")
        pipeline.wait_until_caught_up()
    assert code == 1
    assert lines["consumers"].status == "ok"
    assert lines["inserts"].status == "note"
    assert "252" in lines["inserts"].found
    stuck = one_partition(lines)
    assert "4 messages wait from offset 1 on" in stuck.found
    assert "at 127.0.0.1 has it; offsets 1-4 are announced, their insert " in stuck.found
    assert "tries to store the batch" in stuck.next


def test_clickhouse_hangs(pipeline: Pipeline, doctor: Doctor, own_clickhouse: tuple[Child, str]) -> None:
    child, _ = own_clickhouse
    with pipeline.running():
        pipeline.publish([make_event()])
        pipeline.wait_until_caught_up()
        with stopped(child):
            pipeline.publish([make_event() for _ in range(4)])
            time.sleep(2)
            watch = Stopwatch()
            code, lines = doctor.look()
            took = watch.seconds
        pipeline.wait_until_caught_up()
    assert code == 1
    assert took < 30
    assert lines["clickhouse"].status == "wrong"
    assert "accepts connections and gives no answer" in lines["clickhouse"].next
    assert lines["consumers"].status == "ok"
    assert "the ledger cannot be asked" in lines["lag"].found
    assert "4 messages wait" in lines["lag"].found
    assert "offsets 1-4 are announced" in lines["lag"].found


def test_clickhouse_is_down(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("AUDITLOG_CLICKHOUSE_URL", f"http://default:@127.0.0.1:{port}/x")
    code, lines = doctor.look()
    assert code == 1
    assert f"nothing listens at 127.0.0.1:{port}" in lines["clickhouse"].next
    assert lines["kafka"].status == "ok"


def test_the_topic_was_made_again(pipeline: Pipeline, doctor: Doctor) -> None:
    pipeline.publish([make_event()])
    with pipeline.running():
        pipeline.wait_until_caught_up()
    admin = AdminClient({"bootstrap.servers": pipeline.settings.kafka})
    admin.delete_topics([pipeline.topic])[pipeline.topic].result(60)
    topics = Topics(pipeline.settings.kafka)
    deadline = time.monotonic() + 120
    while topics.find(pipeline.topic) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    topics.ensure(pipeline.topic, pipeline.settings.dead_topic)
    pipeline.publish([make_event()])
    code, lines = doctor.look()
    assert code == 1
    assert lines["topic id"].status == "wrong"
    assert "'topic recreated'" in lines["topic id"].next


def test_a_transaction_that_is_open(pipeline: Pipeline, doctor: Doctor) -> None:
    """The other partitions of its consumer go on, and it is no reason to restart anything."""
    held = Transactions(pipeline)
    held.publish([make_event()], ends="later")
    pipeline.publish([make_event() for _ in range(4)])
    with pipeline.running():
        time.sleep(2)
        code, lines = doctor.look()
        held.commit()
        pipeline.wait_until_caught_up()
    assert code == 1
    stuck = one_partition(lines)
    assert "5 messages wait from offset 0 on, the first since " in stuck.found
    assert "; a transaction that is open holds them, from offset 0 on" in stuck.found
    assert "abort it at offset 0: see docs/operations.md, 'a transaction left open'" in stuck.next


def test_a_topic_that_is_compacted_or_deletes_by_size(pipeline: Pipeline, doctor: Doctor) -> None:
    alter(pipeline, pipeline.topic, "retention.bytes", "5000000")
    code, lines = doctor.look()
    assert code == 0
    assert lines["topic setting"].status == "note"
    assert "retention.bytes=5000000: of each partition " in lines["topic setting"].found
    assert "beyond 5,000,000 bytes" in lines["topic setting"].found
    alter(pipeline, pipeline.topic, "retention.bytes", "-1")
    alter(pipeline, pipeline.settings.dead_topic, "cleanup.policy", "compact")
    code, lines = doctor.look()
    assert code == 1
    assert lines["topic setting"].status == "wrong"
    command = f"--alter --topic {pipeline.settings.dead_topic} --add-config cleanup.policy=delete`"
    assert command in lines["topic setting"].next
    alter(pipeline, pipeline.settings.dead_topic, "cleanup.policy", "delete")
    _, lines = doctor.look()
    assert "topic setting" not in lines

"""A consumer that ends at each step of a batch, and of recovery; the next one ends exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from auditlog_consumer.dead_letters import DeadLetterSink
from auditlog_consumer.group import GroupMember
from auditlog_consumer.judge import Judge
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.window import Window
from auditlog_schemas.codec import encode
from auditlog_schemas.event import Entity
from auditlog_storage.ledger import Ledger
from auditlog_storage.stored import StoredRows
from auditlog_storage.writer import EventWriter
from kit.events import make_event
from kit.one_partition import ACCOUNT, OnePartition
from kit.pipeline import Pipeline

pytestmark = pytest.mark.integration

STEPS: list[tuple[type, str, str]] = [
    (Judge, "judge_part", "before"),
    (GroupMember, "announce", "before"),
    (GroupMember, "announce", "after"),
    (EventWriter, "insert", "before"),
    (EventWriter, "insert", "after"),
    (StoredRows, "offsets", "before"),
    (StoredRows, "offsets", "after"),
    (DeadLetterSink, "write", "before"),
    (DeadLetterSink, "write", "after"),
    (Ledger, "append", "before"),
    (Ledger, "append", "after"),
    (GroupMember, "commit", "before"),
    (GroupMember, "commit", "after"),
    (Window, "extend", "before"),
    (GroupMember, "announced", "after"),
    (Ledger, "furthest", "before"),
    (StoredRows, "highest_offset", "after"),
    (StoredRows, "recent_ids", "before"),
]
GOOD, ALL = 6, 8


class Killed(BaseException):
    """Nothing catches it: what the thread was doing stops there."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, when: str) -> None:
    step: Callable[..., Any] = getattr(owner, name)

    def killed(*given: Any, **named: Any) -> None:
        if when == "after":
            step(*given, **named)
        raise Killed

    monkeypatch.setattr(owner, name, killed)


def messages(round: int) -> list[tuple[bytes | None, bytes | None]]:
    """Return 6 events in two parts of the table, a copy of one of them and one bad message."""
    order = {"action": "order_deleted", "entity": Entity(type="order", id=f"ord_{round}"), "changes": ()}
    events = [make_event(**(order if number % 2 else {})) for number in range(GOOD)]
    bodies: list[bytes] = [encode(event.to_record()) for event in events]
    return [(ACCOUNT.encode(), body) for body in (*bodies, bodies[2], b"garbage")]


@pytest.fixture
def short(kafka_bootstrap: str, fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline in which recovery waits 2 s at most for an announced insert."""
    monkeypatch.setattr(ConsumerSettings, "insert_seconds_max", property(lambda _: 1.0))
    return Pipeline(kafka_bootstrap, fresh_database, session_timeout_seconds=6.0)


def test_ended_at_each_step_one_after_the_other(short: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each consumer goes on with what the one before left and with more messages, and ends a step later."""
    pipeline = short
    for round, (owner, name, when) in enumerate(STEPS, 1):
        pipeline.publish_raw(messages(round))
        with monkeypatch.context() as patched:
            kill_at(patched, owner, name, when)
            with pytest.raises(Killed), pipeline.running():
                pipeline.wait_until_caught_up()
    with pipeline.running():
        pipeline.wait_until_caught_up()
    rounds = len(STEPS)
    report = pipeline.check()
    assert (report.accepted, report.rejected, report.duplicates) == (GOOD * rounds, rounds, rounds)
    stored = OnePartition(pipeline).stored()
    assert stored == [ALL * round + at for round in range(rounds) for at in range(GOOD)]
    letters = {letter.source_offset for letter in pipeline.dead_letters()}
    assert letters == {ALL * round + ALL - 1 for round in range(rounds)}
    pipeline.close()


def test_a_consumer_without_more_messages_finishes_what_was_begun(
    short: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The range is the announced one, whatever this consumer's limits are."""
    pipeline = short
    pipeline.publish_raw(messages(0))
    with monkeypatch.context() as patched:
        kill_at(patched, Ledger, "append", "before")
        with pytest.raises(Killed), pipeline.running():
            pipeline.wait_until_caught_up()
    pipeline.settings = pipeline.settings.model_copy(update={"batch_rows_max": 3})
    pipeline.publish_raw(messages(1))
    with pipeline.running():
        pipeline.wait_until_caught_up()
    ranges = [(each.first_offset, each.last_offset) for each in OnePartition(pipeline).ranges()]
    assert ranges[0] == (0, ALL - 1)
    assert len(ranges) > 2
    assert pipeline.check().accepted == 2 * GOOD
    pipeline.close()

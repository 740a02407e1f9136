"""What the doctor concludes from what it saw, without servers."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from auditlog_cli.doctor.bounds import bounds, retention
from auditlog_cli.doctor.kafka import listed
from auditlog_cli.doctor.look import PartitionLook, moved
from auditlog_cli.doctor.progress import progress_of
from auditlog_cli.doctor.stuck import Circumstances, ago, explain
from auditlog_consumer.group_state import Committed, GroupState, Member
from auditlog_consumer.intent import Intent
from auditlog_consumer.topics import TopicInfo

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
TOPIC_ID = uuid.UUID(int=5)
ALICE = Member("auditlog.alice.11", "10.0.0.1", frozenset({0, 1, 2}))
BOB = Member("auditlog.bob.12", "10.0.0.2", frozenset({3}))
TWO = GroupState("STABLE", (ALICE, BOB))
NONE = GroupState("EMPTY", ())
LOOK = PartitionLook(0, 0, 150, 100, "auditlog", Committed(100, None))
AROUND = Circumstances("auditlog", TWO, NOW, 8.0, 30.0)


def intent(first: int, last: int, deadline: datetime) -> Committed:
    millis = int(deadline.timestamp() * 1000)
    return Committed(first, Intent(TOPIC_ID, first, last, 1_000, millis))


def test_a_stuck_partition_names_its_owner_and_how_long_it_waits() -> None:
    found = explain(LOOK, NOW - timedelta(hours=3), AROUND)
    assert (found.name, found.status) == ("partition 0", "wrong")
    assert "50 messages wait from offset 100 on, the first since 3 h ago" in found.found
    assert "nothing was done in 8 s" in found.found
    assert "auditlog.alice.11 at 10.0.0.1 has it" in found.found
    assert "nothing is announced" in found.found
    assert "does not come to announce" in found.next


def test_without_members_a_consumer_is_started() -> None:
    found = explain(LOOK, None, replace(AROUND, state=NONE))
    assert "nobody has it" in found.found
    assert "`auditlog consume`" in found.next


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        (GroupState("PREPARING_REBALANCING", (BOB,)), "look again in 30 s"),
        (GroupState("STABLE", (BOB,)), "'partitions added'"),
    ],
)
def test_a_partition_that_nobody_has(state: GroupState, advice: str) -> None:
    assert advice in explain(LOOK, None, replace(AROUND, state=state)).next


def test_trouble_elsewhere_comes_first() -> None:
    around = replace(AROUND, trouble=("engine disk", "dead letters"))
    assert "above about engine disk; the consumers go on by themselves" in explain(LOOK, None, around).next
    around = replace(around, state=NONE)
    assert "above about engine disk; then start one" in explain(LOOK, None, around).next


def test_an_announced_batch_is_told_with_its_deadline() -> None:
    young = replace(LOOK, committed=intent(100, 149, NOW + timedelta(seconds=9)))
    found = explain(young, None, AROUND)
    assert "offsets 100-149 are announced, their insert may begin now" in found.found
    assert "tries to store the batch" in found.next
    old = replace(LOOK, committed=intent(100, 149, NOW - timedelta(minutes=30)))
    found = explain(old, None, AROUND)
    assert "their insert could begin until 30 min ago" in found.found
    assert "neither stores it nor announces it anew" in found.next
    recorded = replace(LOOK, committed=intent(50, 99, NOW))
    assert "nothing is announced" in explain(recorded, None, AROUND).found


@pytest.mark.parametrize("millis", [0, 253_402_300_799_999, 253_402_300_800_000, (1 << 63) - 1])
def test_a_deadline_that_no_calendar_has_is_told_too(millis: int) -> None:
    """Whoever may commit for the group may write any number."""
    look = replace(LOOK, committed=Committed(100, Intent(TOPIC_ID, 100, 149, 1_000, millis)))
    found = explain(look, None, AROUND)
    assert ("may begin now" in found.found) == (millis > 0)
    assert ("neither stores it nor announces it anew" in found.next) == (millis == 0)


def lag_of(first: list[PartitionLook], last: list[PartitionLook]) -> list[tuple[str, str]]:
    return [(one.name, one.status) for one in progress_of(first, last, {}, AROUND)]


def test_partitions_of_an_owner_that_works_wait_for_their_turn() -> None:
    first = [replace(LOOK, number=number) for number in range(4)]
    last = [replace(first[0], next_offset=120), *first[1:]]
    assert lag_of(first, last) == [("lag", "wrong"), ("partition 3", "wrong")]
    last[3] = replace(first[3], next_offset=150)
    [found] = progress_of(first, last, {}, AROUND)
    assert found.status == "ok"
    assert "130 messages wait" in found.found
    assert "1-2 wait for their turn" in found.found
    assert moved(first, last) == {0, 3}


def test_no_more_partitions_are_explained_than_anybody_reads() -> None:
    first = [replace(LOOK, number=number) for number in range(40)]
    found = list(progress_of(first, first, {}, AROUND))
    assert "partitions 0-39 do not move" in found[0].found
    assert len(found) == 11


def test_ledger_and_log_are_compared() -> None:
    fits = LOOK
    ahead = replace(LOOK, number=1, high=90)
    gone = replace(LOOK, number=2, low=110)
    beyond = replace(LOOK, number=3, committed=Committed(101, None))
    fresh = replace(LOOK, number=4, low=110, next_offset=None)
    found = {
        one.name: (one.status, one.found, one.next) for one in bounds([fits, ahead, gone, beyond, fresh])
    }
    assert set(found) == {"partition 1", "partition 2", "partition 3"}
    assert "'log behind ledger'" in found["partition 1"][2]
    assert "offsets 100-109 are gone" in found["partition 2"][1]
    assert "'retention overtook us'" in found["partition 2"][2]
    assert found["partition 3"][0] == "note"


@pytest.mark.parametrize(
    ("hours_kept", "hours_old", "status"),
    [(168, 1, None), (168, 100, "note"), (168, 150, "wrong"), (168, 200, "wrong"), (-1, 1_000, None)],
)
def test_retention_is_told_before_it_deletes(hours_kept: int, hours_old: int, status: str | None) -> None:
    kept = hours_kept * 3_600_000 if hours_kept > 0 else -1
    topic = TopicInfo("events", TOPIC_ID, 8, "LogAppendTime", kept, 1_000_000)
    found = list(retention(topic, [LOOK], {0: NOW - timedelta(hours=hours_old)}, NOW))
    assert [one.status for one in found] == ([status] if status else [])
    assert all("retention.ms" in one.next for one in found)


def test_retention_by_size_is_seen_by_the_offsets_that_are_left() -> None:
    topic = TopicInfo("events", TOPIC_ID, 8, "LogAppendTime", -1, 1_000_000)
    near = replace(LOOK, low=5_000, high=15_000, next_offset=5_400)
    [found] = retention(topic, [near, replace(near, number=1, next_offset=9_000)], {}, NOW)
    assert "partition 0: 400 messages before Kafka's first one" in found.found


def test_words() -> None:
    assert listed([]) == ""
    assert listed([3, 0, 1, 2, 5]) == "0-3, 5"
    ages = [ago(NOW, NOW - timedelta(seconds=seconds)) for seconds in (-5, 30, 300, 9_000, 400_000)]
    assert ages == ["0 s ago", "30 s ago", "5 min ago", "2 h ago", "5 days ago"]

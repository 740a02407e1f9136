"""What the protocol takes from Kafka: the model and a real broker pass the same tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from auditlog_consumer.acknowledged import Outgoing
from auditlog_consumer.partition import Epoch, EpochEnded
from simulated.contract_brokers import model_stage, real_stage
from simulated.contract_kafka import Played, Stage


@pytest.fixture(params=["model", pytest.param("real", marks=pytest.mark.integration)])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param == "model":
        with model_stage() as made:
            yield made
    else:
        with real_stage(request.getfixturevalue("kafka_bootstrap")) as made:
            yield made


def joined(stage: Stage) -> Played:
    """Return the first member, which has both partitions."""
    played = stage.join()
    stage.poll_until(lambda: played.given == {0, 1})
    return played


def test_a_partition_is_read_from_the_start_it_is_given(stage: Stage) -> None:
    stage.broker.publish(0, [b"a", b"b", b"c"])
    played = joined(stage)
    played.member.start(0, 1)
    stage.poll_until(lambda: played.ends.get(0) == 3)
    assert played.offsets == {0: [1, 2]}
    stage.broker.publish(0, [b"d"])
    stage.poll_until(lambda: played.ends.get(0) == 4)
    assert played.offsets == {0: [1, 2, 3]}
    played.member.start(0, 2)
    stage.poll_until(lambda: played.offsets[0] == [1, 2, 3, 2, 3])


def test_aborted_messages_leave_offsets_without_a_message(stage: Stage) -> None:
    stage.broker.publish(0, [b"a"])
    stage.broker.abort(0, [b"x", b"y"])
    stage.broker.publish(0, [b"b"])
    stage.broker.abort(0, [b"z"])
    played = joined(stage)
    played.member.start(0, 0)
    # Two messages and a control record are between them; at the end a message and its control record.
    stage.poll_until(lambda: played.ends.get(0) == 7)
    assert played.offsets == {0: [0, 4]}
    assert stage.topics.ends(stage.topic, 0) == (0, 7)


def test_what_retention_deleted_is_out_of_range(stage: Stage) -> None:
    stage.broker.publish(0, [b"a", b"b", b"c"])
    stage.broker.delete_before(0, 2)
    assert stage.topics.ends(stage.topic, 0) == (2, 3)
    played = joined(stage)
    played.member.start(0, 1)
    stage.poll_until(lambda: played.out_of_range == {0})
    played.member.stop(0)
    assert played.offsets == {}
    played.member.start(0, 2)
    stage.poll_until(lambda: played.offsets == {0: [2]})


def test_a_position_beyond_the_end_is_out_of_range(stage: Stage) -> None:
    played = joined(stage)
    played.member.start(0, 5)
    stage.poll_until(lambda: played.out_of_range == {0})


def epoch() -> Epoch:
    return Epoch(threading.Event())


def test_nothing_is_announced_at_first(stage: Stage) -> None:
    member = joined(stage).member
    assert stage.ask(member.announced, 0) is None


def test_what_is_announced_can_be_read_by_another_member(stage: Stage) -> None:
    stage.broker.publish(0, [b"a"] * 9)
    member = joined(stage).member
    stage.ask(member.announce, epoch(), 0, 5, '{"first":5}')
    assert stage.ask(stage.join().member.announced, 0) == (5, '{"first":5}')
    stage.ask(member.announce, epoch(), 0, 2, "m" * 4_000)
    assert stage.ask(member.announced, 0) == (2, "m" * 4_000)
    member.commit(epoch(), 0, 9)
    # Commits of one partition arrive in order.
    stage.ask(member.announce, epoch(), 0, 3, "later")
    assert stage.ask(member.announced, 0) == (3, "later")
    member.commit(epoch(), 0, 9)
    stage.poll_until(lambda: stage.ask(member.announced, 0) == (9, ""))
    assert stage.ask(member.announced, 1) is None


def test_nothing_is_announced_in_the_name_of_an_epoch_that_has_ended(stage: Stage) -> None:
    member, dead = joined(stage).member, epoch()
    stage.ask(member.announce, dead, 0, 5, "in time")
    dead.end()
    with pytest.raises(EpochEnded):
        stage.ask(member.announce, dead, 0, 6, "too late")
    member.commit(dead, 0, 7)
    stage.ask(member.announce, epoch(), 1, 3, "the next")
    assert stage.ask(member.announced, 0) == (5, "in time")


def test_a_commit_is_taken_from_a_member_that_does_not_own_the_partition(stage: Stage) -> None:
    first = joined(stage)
    second = stage.join()
    stage.poll_until(lambda: len(first.given) == len(second.given) == 1)
    [others] = second.given
    stage.ask(second.member.announce, epoch(), others, 3, "the owner's")
    # Our own member would refuse; Kafka does not.
    first.member.start(others, 0)
    stage.ask(first.member.announce, epoch(), others, 1, "another member's")
    assert stage.ask(second.member.announced, others) == (1, "another member's")


def test_a_commit_is_refused_from_one_who_is_no_member(stage: Stage) -> None:
    member = joined(stage).member
    stage.ask(member.announce, epoch(), 0, 3, "ours")
    assert not stage.broker.commit_as_stranger(0, 1)
    assert stage.ask(member.announced, 0) == (3, "ours")


def test_an_operator_may_set_offsets_only_while_the_group_is_empty(stage: Stage) -> None:
    member = joined(stage).member
    stage.ask(member.announce, epoch(), 0, 3, "ours")
    assert not stage.broker.commit_as_operator(0, 1)
    stage.players.clear()
    member.close()
    assert stage.broker.commit_as_operator(0, 1)
    assert stage.ask(joined(stage).member.announced, 0) == (1, "")


def test_a_partition_is_given_away_after_its_owner_let_go_of_it(stage: Stage) -> None:
    first = joined(stage)
    second = stage.join()
    stage.poll_until(lambda: len(first.given) == len(second.given) == 1)
    [moved] = second.given
    assert stage.told == ["a gets 0", "a gets 1", f"a loses {moved}", f"b gets {moved}"]
    stage.players.remove(first)
    first.member.close()
    stage.poll_until(lambda: second.given == {0, 1})


def test_who_waits_for_a_commit_is_let_go(stage: Stage) -> None:
    member = joined(stage).member
    member.release([0])
    member.start(0, 0)
    stage.ask(member.announce, epoch(), 0, 1, "still works")
    assert stage.ask(member.announced, 0) == (1, "still works")


def test_a_paused_partition_is_not_read(stage: Stage) -> None:
    stage.broker.publish(0, [b"a"])
    stage.broker.publish(1, [b"b"])
    played = joined(stage)
    for partition in (0, 1):
        played.member.start(partition, 0)
    played.member.pause([0])
    stage.poll_until(lambda: played.ends.get(1) == 1)
    assert played.offsets.get(0, []) == []
    played.member.resume([0])
    stage.poll_until(lambda: played.offsets == {0: [0], 1: [0]})


def test_dead_letters_are_there_once_they_are_acknowledged(stage: Stage) -> None:
    letters = [Outgoing(b"topic/0/1", b"bad"), Outgoing(b"topic/0/2", None)]
    stage.writer.write(f"{stage.topic}.dead", letters)
    stage.writer.write(f"{stage.topic}.dead", letters[:1])
    found = stage.broker.letters()
    assert sorted(found, key=repr) == [(b"topic/0/1", b"bad"), (b"topic/0/1", b"bad"), (b"topic/0/2", None)]

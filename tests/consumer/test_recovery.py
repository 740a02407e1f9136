"""Recovery's decisions: where a partition starts, what is replayed, what is lost, when it refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from auditlog_consumer import patience, recovery
from auditlog_consumer.partition import EpochEnded
from auditlog_schemas.errors import ConfigError, TerminalError
from kit.recovery_stage import SESSION, TOPIC_ID, Stage, intent, known, plan, recorded

OTHER_ID = UUID(int=8)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(patience, "DELAY_SECONDS_MIN", 0.001)
    return Stage()


class TestWhereItStarts:
    def test_at_kafkas_first_offset_without_a_ledger(self, stage: Stage) -> None:
        stage.world.low = 40
        start = stage.recover()
        assert plan(start) == (40, None, 40)
        assert stage.world.appended == [], "nothing is known of what was before"

    @pytest.mark.parametrize("committed", [None, (0, ""), (20, ""), (40, "note"), (999, "")])
    def test_after_the_ledger_wherever_the_group_is(
        self, stage: Stage, committed: tuple[int, str] | None
    ) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.committed = committed
        start = stage.recover()
        assert plan(start) == (40, None, 40)

    def test_an_intent_after_the_ledger_is_replayed(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.announces(intent(40, 55))
        start = stage.recover()
        assert plan(start) == (40, intent(40, 55), 56)

    def test_an_intent_at_kafkas_first_offset_is_replayed_without_a_ledger(self, stage: Stage) -> None:
        stage.world.low = 40
        stage.world.announces(intent(40, 55))
        start = stage.recover()
        assert plan(start) == (40, intent(40, 55), 56)

    @pytest.mark.parametrize(
        ("first", "last", "until"), [(30, 45, 46), (45, 60, 61), (20, 39, 40), (0, 9, 40)]
    )
    def test_an_intent_that_starts_elsewhere_is_only_read_back(
        self, stage: Stage, first: int, last: int, until: int
    ) -> None:
        """One that ends before the ledger does was recorded and is nothing to us."""
        stage.world.furthest_range = recorded(10, 39)
        stage.world.announces(intent(first, last))
        start = stage.recover()
        assert plan(start) == (40, None, until)

    def test_an_intent_of_another_topic_is_none(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.announces(replace(intent(40, 55), topic_id=OTHER_ID))
        start = stage.recover()
        assert plan(start) == (40, None, 40)

    def test_an_intent_without_a_ledger_skips_nothing(self, stage: Stage) -> None:
        """Tables that were wiped, with a group that was far: everything is read again."""
        stage.world.announces(intent(500, 599))
        start = stage.recover()
        assert plan(start) == (0, None, 600)

    def test_rows_beyond_the_ledger_are_read_back(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.stored = [*range(10, 40), 41, 77]
        assert plan(stage.recover())[2] == 78
        stage.world.announces(intent(40, 55))
        assert plan(stage.recover())[2] == 78
        stage.world.announces(intent(40, 99))
        assert plan(stage.recover())[2] == 100


class TestLosses:
    def test_retention_beyond_the_ledger_is_recorded(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.low = 60
        start = stage.recover()
        assert plan(start) == (60, None, 60)
        [lost] = stage.world.appended
        assert (lost.kind, lost.first_offset, lost.last_offset, lost.absent) == ("lost", 40, 59, 20)
        assert lost.consumer_group == "auditlog"

    def test_rows_of_a_dead_owner_in_a_loss_are_counted(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.low = 60
        stage.world.stored = [*range(10, 40), 44, 45, 45, 59, 60]
        start = stage.recover()
        [lost] = stage.world.appended
        assert (lost.accepted, lost.absent) == (3, 17)
        assert start.stored_until == 61
        assert known(start, [39, 44, 59, 60], 100) == [39, 44, 59]

    def test_what_is_left_of_an_announced_range_is_no_replay(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.announces(intent(40, 99))
        stage.world.low = 60
        start = stage.recover()
        assert plan(start) == (60, None, 100)

    def test_an_intent_shows_a_loss_that_no_ledger_can(self, stage: Stage) -> None:
        """The first batch ever was announced, its owner died, and retention passed it."""
        stage.world.announces(intent(5, 24))
        stage.world.low = 60
        start = stage.recover()
        assert (start.offset, start.replay) == (60, None)
        [lost] = stage.world.appended
        assert (lost.first_offset, lost.last_offset) == (5, 59)

    def test_what_was_announced_beyond_a_loss_is_read_before_it_is_inserted(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.announces(intent(60, 70))
        stage.world.low = 60
        start = stage.recover()
        assert plan(start) == (60, None, 71)

    def test_a_loss_that_grows_meanwhile_is_recorded_in_two_ranges(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.low = 60
        stage.world.then_low = 75
        assert plan(stage.recover()) == (75, None, 75)
        assert [(each.first_offset, each.last_offset) for each in stage.world.appended] == [
            (40, 59),
            (60, 74),
        ]

    def test_who_stood_still_since_it_read_the_ledger_records_no_loss(self, stage: Stage) -> None:
        """Another member has stored 40 to 49 and has recorded the loss of what was before it was back."""
        stage.world.furthest_range = recorded(10, 39)
        stage.world.low = 60
        stage.world.moves_ledger_to = recorded(40, 69)
        assert plan(stage.recover()) == (70, None, 70)
        assert stage.world.appended == []

    def test_a_dead_epoch_records_no_loss(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.low = 60
        stage.world.at_announcement = lambda: setattr(stage.waits, "ended", True)
        with pytest.raises(EpochEnded):
            stage.recover()
        assert stage.world.appended == []


class TestGroups:
    def test_the_first_of_a_topic_claims_it(self, stage: Stage) -> None:
        stage.recover()
        assert "claim" in stage.world.asked

    def test_another_ones_topic_is_refused_before_anything_is_recorded(self, stage: Stage) -> None:
        stage.world.claimed_by = "another"
        with pytest.raises(ConfigError, match="another consumer group"):
            stage.recover()

    def test_what_has_a_ledger_needs_no_claim(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.recover()
        assert "claim" not in stage.world.asked


class TestRefusals:
    def test_a_topic_that_was_made_again(self, stage: Stage) -> None:
        stage.world.topic_ids = [OTHER_ID]
        with pytest.raises(TerminalError, match="was deleted and made again"):
            stage.recover()

    def test_a_topic_that_is_gone_is_waited_for(self, stage: Stage) -> None:
        stage.world.topic_ids = [None, None, TOPIC_ID]
        assert stage.recover().offset == 0
        assert len(stage.waits.waits) == 2

    def test_another_groups_ledger(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39, "somebody")
        with pytest.raises(TerminalError, match="'another consumer group'"):
            stage.recover()
        stage.settings = stage.settings.model_copy(update={"takes_over_group": "else"})
        with pytest.raises(TerminalError, match="'another consumer group'"):
            stage.recover()
        stage.settings = stage.settings.model_copy(update={"takes_over_group": "somebody"})
        assert stage.recover().offset == 40

    @pytest.mark.parametrize("high", [0, 39, 40])
    def test_a_log_that_ends_before_the_ledger(self, stage: Stage, high: int) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.high = high
        if high == 40:
            assert stage.recover().offset == 40
            return
        with pytest.raises(TerminalError, match=f"ends at offset {high}, 40 was recorded"):
            stage.recover()

    def test_a_log_that_ends_before_what_was_announced(self, stage: Stage) -> None:
        stage.world.announces(intent(40, 55))
        stage.world.furthest_range = recorded(10, 39)
        stage.world.high = 55
        with pytest.raises(TerminalError, match="56 was recorded, announced or stored"):
            stage.recover()

    def test_a_log_that_ends_before_what_is_stored(self, stage: Stage) -> None:
        stage.world.stored = [3]
        stage.world.high = 3
        with pytest.raises(TerminalError, match="4 was recorded, announced or stored"):
            stage.recover()
        assert stage.world.appended == []


class TestOutlasting:
    @pytest.mark.parametrize(
        ("seconds", "waited"),
        [
            (-SESSION, 0.0),
            (-SESSION / 2, 0.0),
            (-SESSION / 2 + 4, 4.0),
            (SESSION / 2, SESSION),
            (3_600, SESSION),
        ],
    )
    def test_an_insert_that_may_still_come_is_waited_for(
        self, stage: Stage, seconds: float, waited: float
    ) -> None:
        """Until its deadline and half a session more; never longer than a session, whatever clocks say."""
        stage.world.furthest_range = recorded(10, 39)
        stage.world.announces(intent(40, 55, seconds=seconds))
        stage.recover()
        assert sum(stage.waits.waits) == pytest.approx(waited, abs=0.5)

    def test_also_when_it_is_not_replayed(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.announces(intent(45, 55, seconds=0.0))
        assert stage.recover().replay is None
        assert sum(stage.waits.waits) == pytest.approx(SESSION / 2, abs=0.5)

    def test_the_wait_comes_before_anything_is_counted_or_filled(self, stage: Stage) -> None:
        """What such an insert stores must be seen by whoever looks."""
        stage.world.furthest_range = recorded(10, 39)
        stage.world.low = 60
        stage.world.announces(intent(40, 55, seconds=0.0))
        at_wait: list[list[str]] = []
        self.on_wait(stage, lambda: at_wait.append(list(stage.world.asked)))
        stage.recover()
        [asked] = at_wait
        assert {"count", "recent_ids"}.isdisjoint(asked)

    def test_it_ends_with_the_epoch(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(10, 39)
        stage.world.announces(intent(40, 55, seconds=0.0))
        self.on_wait(stage, stage.waits.set)
        with pytest.raises(EpochEnded):
            stage.recover()

    @staticmethod
    def on_wait(stage: Stage, do: Callable[[], None]) -> None:
        wait = stage.waits.wait

        def then(timeout: float | None = None) -> bool:
            do()
            return wait(timeout)

        stage.waits.wait = then  # type: ignore[method-assign]


class TestTheWindow:
    def test_it_is_filled_in_pages_up_to_the_start(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recovery, "WINDOW_PAGE_OFFSETS", 7)
        stage.world.furthest_range = recorded(0, 249)
        stage.world.stored = [offset for offset in range(250) if offset % 3]
        start = stage.recover()
        assert stage.world.pages[0][0] == 150
        assert stage.world.pages[-1][1] == 249
        assert all(
            after == before + 1
            for (_, before), (after, _) in zip(stage.world.pages, stage.world.pages[1:], strict=False)
        )
        assert known(start, list(range(250)), 100) == [offset for offset in range(150, 250) if offset % 3]

    def test_rows_at_and_after_the_start_are_not_in_it(self, stage: Stage) -> None:
        stage.world.furthest_range = recorded(0, 39)
        stage.world.stored = list(range(60))
        stage.world.announces(intent(40, 59))
        start = stage.recover()
        assert known(start, list(range(60)), 100) == list(range(40))

    @pytest.mark.parametrize(("announced", "reaches_from"), [(30, 150), (220, 30)])
    def test_a_replay_has_the_window_that_was_announced(
        self, stage: Stage, announced: int, reaches_from: int
    ) -> None:
        """At least: the settings may have changed either way since."""
        stage.world.furthest_range = recorded(0, 249)
        stage.world.stored = list(range(250))
        stage.world.announces(intent(250, 255, window=announced))
        start = stage.recover()
        assert stage.world.pages[0][0] == reaches_from
        assert known(start, list(range(250)), announced) == list(range(250 - announced, 250))

    def test_of_no_size_it_asks_for_nothing(self, stage: Stage) -> None:
        stage.settings = stage.settings.model_copy(update={"window_offsets": 0})
        stage.world.furthest_range = recorded(0, 39)
        stage.world.stored = list(range(40))
        start = stage.recover()
        assert stage.world.pages == []
        assert known(start, list(range(40)), 0) == []


def test_whatever_is_away_at_first_is_asked_again(stage: Stage) -> None:
    stage.world.failing = True
    stage.world.furthest_range = recorded(10, 39)
    stage.world.low = 60
    stage.world.stored = [20, 44]
    start = stage.recover()
    assert start.offset == 60
    assert len(stage.world.appended) == 1
    assert min(stage.world.asked.count(what) for what in set(stage.world.asked)) == 2


def test_a_partition_that_was_taken_away_is_not_asked_about(stage: Stage) -> None:
    ended = threading.Event()
    ended.set()
    with pytest.raises(EpochEnded):
        stage.recover(ended)
    assert stage.world.asked == []

"""Turns by account and by token: who is next, what nobody exceeds, and that nobody waits for nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from auditlog_api.shares import Asker, Path
from auditlog_api.turns import Turn, Turns

MOST, KEPT, ACCOUNT_MOST = 6, 2, 4


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def path(account: str, token: str = "api", viewer: bool = False) -> Path:
    return Asker(account, token, viewer).path(ACCOUNT_MOST)


def running(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Crowd:
    """Askers of one `Turns`, as tasks, and the order in which they got their turns."""

    def __init__(self, most: int = MOST, kept: int = KEPT) -> None:
        self.clock = Clock()
        self.turns = Turns(most, kept, self.clock)
        self.got: list[str] = []
        self.held: dict[str, Turn] = {}

    def ask(self, name: str, where: Path) -> asyncio.Task[None]:
        async def take() -> None:
            self.held[name] = await self.turns.take(where)
            self.got.append(name)

        return asyncio.ensure_future(take())

    async def end(self, name: str) -> None:
        self.turns.give_back(self.held.pop(name))
        await settled()


def test_long_work_of_two_accounts_leaves_a_turn_for_a_third_one() -> None:
    async def test() -> None:
        crowd = Crowd()
        for account in "ab":
            for number in range(6):
                crowd.ask(f"{account}{number}", path(account))
        await settled()
        assert Counter(name[0] for name in crowd.got) == {"a": 4, "b": 1}
        crowd.ask("c0", path("c"))
        await settled()
        assert "c0" in crowd.got, "who has none gets one of those that are kept"
        assert crowd.turns.running == MOST

    running(test)


def test_the_next_turn_is_for_whoever_has_fewest() -> None:
    async def test() -> None:
        crowd = Crowd(kept=0)
        for name in ("a0", "a1", "a2", "a3", "b0", "b1"):
            crowd.ask(name, path(name[0]))
        await settled()
        for name in ("a4", "b2", "c0", "a5", "c1"):
            crowd.ask(name, path(name[0]))
        await settled()
        assert len(crowd.got) == 6
        for ended in ("a0", "a1", "a2", "a3"):
            await crowd.end(ended)
        assert crowd.got[6:] == ["c0", "c1", "a4", "a5"]

    running(test)


def test_of_equals_the_one_that_used_less_time_lately_is_next() -> None:
    async def test() -> None:
        crowd = Crowd(most=1, kept=0)
        for name, seconds in (("a0", 5.0), ("b0", 1.0), ("c0", 3.0)):
            crowd.ask(name, path(name[0]))
            await settled()
            crowd.clock.now += seconds
            await crowd.end(name)
        crowd.ask("x", path("x"))
        for name in ("a1", "c1", "b1", "d1"):
            crowd.ask(name, path(name[0]))
        await settled()
        for name in ("x", "d1", "b1", "c1"):
            await crowd.end(name)
        assert crowd.got[-4:] == ["d1", "b1", "c1", "a1"]

    running(test)


def test_what_was_used_long_ago_does_not_count() -> None:
    async def test() -> None:
        crowd = Crowd(most=1, kept=0)
        for name, seconds in (("a0", 60.0), ("wait", 3_600.0), ("b0", 1.0)):
            crowd.ask(name, path(name[0]))
            await settled()
            crowd.clock.now += seconds
            await crowd.end(name)
        for name in ("x", "b1", "a1"):
            crowd.ask(name, path(name[0]))
        await settled()
        for name in ("x", "a1"):
            await crowd.end(name)
        assert crowd.got[-2:] == ["a1", "b1"]

    running(test)


def test_one_viewer_token_has_half_of_its_account_and_all_of_them_three_quarters() -> None:
    async def test() -> None:
        crowd = Crowd()
        for number in range(5):
            crowd.ask(f"v{number}", path("a", "v", viewer=True))
        await settled()
        assert len(crowd.got) == 2
        for number in range(5):
            crowd.ask(f"w{number}", path("a", "w", viewer=True))
        await settled()
        assert len(crowd.got) == 3
        crowd.ask("api", path("a"))
        await settled()
        assert crowd.got[3:] == ["api"], "the vendor's own program waits for its users"
        crowd.clock.now += 1
        await crowd.end("v0")
        assert crowd.got[4:] == ["w1"], "of two tokens with one turn, the one that used less is next"

    running(test)


@pytest.mark.parametrize("also_granted", [False, True])
def test_who_goes_away_leaves_its_turn_to_the_next(also_granted: bool) -> None:
    async def test() -> None:
        crowd = Crowd(most=1, kept=0)
        crowd.ask("a", path("a"))
        await settled()
        gone, next_one = crowd.ask("b", path("b")), crowd.ask("c", path("c"))
        await settled()
        if also_granted:
            # The turn and the cancellation come before the task runs again.
            crowd.turns.give_back(crowd.held.pop("a"))
            gone.cancel()
        else:
            gone.cancel()
            crowd.turns.give_back(crowd.held.pop("a"))
        await settled()
        assert gone.cancelled()
        assert next_one.done()
        assert (crowd.turns.running, crowd.turns.waiting) == (1, 0)
        await crowd.end("c")
        assert crowd.turns._root.children == {}

    running(test)


def test_nobody_is_left_waiting_however_long_the_others_go_on() -> None:
    async def test() -> None:
        crowd = Crowd(most=2, kept=0)
        lengths = {"long": 20.0, "short": 0.1, "tiny": 0.01, "other": 1.0}
        serial = 0

        def ask(account: str) -> None:
            nonlocal serial
            serial += 1
            crowd.ask(f"{account} {serial}", path(account))

        for account in lengths:
            for _ in range(3):
                ask(account)
        await settled()
        ends: dict[str, float] = {}
        served = dict.fromkeys(lengths, 0.0)
        while crowd.clock.now < 300:
            for name in crowd.held:
                ends.setdefault(name, crowd.clock.now + lengths[name.split()[0]])
            name = min(crowd.held, key=ends.__getitem__)
            crowd.clock.now = max(crowd.clock.now, ends[name])
            before = len(crowd.got)
            ask(name.split()[0])
            await crowd.end(name)
            served |= {each.split()[0]: crowd.clock.now for each in crowd.got[before:]}
            waited = {account: crowd.clock.now - at for account, at in served.items()}
            assert max(waited.values()) < 60, f"some wait while others go on: {waited}"
        counts = Counter(name.split()[0] for name in crowd.got)
        seconds = {account: counts[account] * lengths[account] for account in lengths}
        assert min(seconds.values()) > 300 * 2 / len(lengths) / 2, f"far from equal shares of time: {seconds}"

    running(test)


def test_what_is_remembered_of_accounts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditlog_api.turns.USES_KEPT_MAX", 50)

    async def test() -> None:
        crowd = Crowd()
        for number in range(500):
            crowd.ask("x", path(f"acc_{number}"))
            await settled()
            crowd.clock.now += 1
            await crowd.end("x")
        assert len(crowd.turns._uses) <= 50
        assert crowd.turns._root.children == {}

    running(test)


WHO = [
    (account, token, viewer)
    for account in "abc"
    for token, viewer in (("t", False), ("v", True), ("w", True))
]


class Taking(RuleBasedStateMachine):
    """Anybody asks, ends and goes away in any order, also in one step of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.turns = Turns(MOST, KEPT, self.clock)
        self.asking: list[tuple[tuple[Any, ...], asyncio.Task[Turn]]] = []
        self.held: list[tuple[tuple[Any, ...], Turn]] = []

    def teardown(self) -> None:
        self.settle()
        while self.held or self.asking:
            assert self.held, "they wait, and nobody has a turn"
            while self.held:
                self.turns.give_back(self.held.pop()[1])
            self.settle()
        assert (self.turns.running, self.turns.waiting) == (0, 0)
        assert self.turns._root.children == {}
        self.loop.close()

    def settle(self) -> None:
        self.loop.run_until_complete(settled())
        for who, task in list(self.asking):
            if task.done():
                self.asking.remove((who, task))
                if not task.cancelled():
                    self.held.append((who, task.result()))

    @rule(who=st.sampled_from(WHO), count=st.integers(1, 4), settles=st.booleans())
    def ask(self, who: tuple[Any, ...], count: int, settles: bool) -> None:
        for _ in range(count):
            self.asking.append((who, self.loop.create_task(self.turns.take(path(*who)))))
        if settles:
            self.settle()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), settles=st.booleans(), seconds=st.floats(0, 30))
    def end(self, data: st.DataObject, settles: bool, seconds: float) -> None:
        self.clock.now += seconds
        self.turns.give_back(self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))[1])
        if settles:
            self.settle()

    @precondition(lambda self: self.asking)
    @rule(data=st.data())
    def go_away(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.asking))[1].cancel()

    @rule()
    def let_run(self) -> None:
        self.settle()
        self.nobody_waits_for_nothing()

    @invariant()
    def no_cap_is_exceeded(self) -> None:
        assert self.turns.running <= MOST
        by_account = Counter(who[0] for who, _ in self.held)
        assert max(by_account.values(), default=0) <= ACCOUNT_MOST
        viewers = Counter(who[0] for who, _ in self.held if who[2])
        assert max(viewers.values(), default=0) <= 3
        assert max(Counter(who for who, _ in self.held if who[2]).values(), default=0) <= 2
        if len(by_account) < len(self.held):
            assert len(self.held) - len(by_account) <= MOST - KEPT

    def nobody_waits_for_nothing(self) -> None:
        counts = Counter(who[0] for who, _ in self.held)
        viewers = Counter(who[0] for who, _ in self.held if who[2])
        tokens = Counter(who for who, _ in self.held)
        free = MOST - len(self.held)
        assert self.turns.running == len(self.held)
        for who, _ in self.asking:
            account, _, viewer = who
            may = free > (KEPT if counts[account] else 0) and counts[account] < ACCOUNT_MOST
            if viewer:
                may = may and viewers[account] < 3 and tokens[who] < 2
            assert not may, f"{who} waits although there is a turn for it"


TestTaking = Taking.TestCase
TestTaking.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

"""Turns: who is next when there are fewer turns than askers.

What is left over goes to whoever has least: the next turn is that of the account with the fewest under way,
then of the one that used the least time lately, and inside the account likewise, by its tokens. Requests of
one token keep their order. A few turns are kept for accounts that have none, so that long work of others does
not make them wait for its end.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from auditlog_api.shares import Path, Step

HALF_LIFE_SECONDS: Final = 10.0
"""Time that was used counts half so many seconds later."""
USES_KEPT_MAX: Final = 4_096
"""Paths whose use is remembered while they ask for nothing."""


class _Node:
    """One step of the paths that are asked for: what runs and waits below it."""

    __slots__ = ("at", "children", "key", "parent", "queue", "running", "step", "used", "waiting")

    def __init__(self, step: Step, key: tuple[str, ...], parent: _Node | None) -> None:
        self.step = step
        self.key = key
        self.parent = parent
        self.children: dict[str, _Node] = {}
        self.queue: deque[asyncio.Future[None]] = deque()
        self.running = 0
        self.waiting = 0
        self.used = 0.0
        self.at = 0.0

    def up(self) -> list[_Node]:
        """Return this one and those above it."""
        found: list[_Node] = [self]
        while (above := found[-1].parent) is not None:
            found.append(above)
        return found

    def used_lately(self, now: float) -> float:
        """Return the seconds that were used, less for those long ago."""
        return self.used * math.exp2((self.at - now) / HALF_LIFE_SECONDS)


class Turn:
    """A turn that was taken; give it back once."""

    __slots__ = ("began", "node")

    def __init__(self, node: _Node, began: float) -> None:
        self.node = node
        self.began = began


class Turns:
    """Hands out turns, for one event loop.

    Args:
        most: turns at the same time.
        kept: how many of them only those may take that have none; fewer than `most`.
        clock: seconds, only ever growing.
    """

    def __init__(self, most: int, kept: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        assert 0 <= kept < most
        self._kept = kept
        self._clock = clock
        self._root = _Node(Step("", most), (), None)
        self._uses: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()

    @property
    def running(self) -> int:
        """Turns that are taken."""
        return self._root.running

    @property
    def waiting(self) -> int:
        """Those who wait for one."""
        return self._root.waiting

    async def take(self, path: Path) -> Turn:
        """Wait for a turn; whoever is cancelled meanwhile has none and waits no longer."""
        node = self._node(path)
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        node.queue.append(mine)
        for each in node.up():
            each.waiting += 1
        self._hand_out()
        try:
            await mine
        except BaseException:
            if mine.done() and not mine.cancelled():
                # It came together with the cancellation: it is somebody else's now.
                self.give_back(Turn(node, self._clock()))
            else:
                self._leave_queue(node, mine)
                self._forget_if_idle(node)
            raise
        return Turn(node, self._clock())

    def give_back(self, turn: Turn) -> None:
        """End a turn; the next one gets it."""
        now = self._clock()
        for each in turn.node.up():
            each.running -= 1
            each.used = each.used_lately(now) + now - turn.began
            each.at = now
        self._forget_if_idle(turn.node)
        self._hand_out()

    def _hand_out(self) -> None:
        now = self._clock()
        while self._root.waiting and (node := self._next(self._root, now)) is not None:
            mine = node.queue[0]
            self._leave_queue(node, mine)
            if mine.done():
                # Cancelled, and does not know yet.
                continue
            for each in node.up():
                each.running += 1
            mine.set_result(None)

    def _next(self, node: _Node, now: float) -> _Node | None:
        """Return where the next turn goes to; None when nobody below may have one."""
        free = node.step.most - node.running
        if free <= 0 or not node.waiting:
            return None
        if node.queue:
            return node
        waiting = [child for child in node.children.values() if child.waiting]
        for child in sorted(waiting, key=lambda each: (each.running, each.used_lately(now))):
            if node is self._root and child.running and free <= self._kept:
                return None
            if (found := self._next(child, now)) is not None:
                return found
        return None

    def _leave_queue(self, node: _Node, mine: asyncio.Future[None]) -> None:
        if mine in node.queue:
            node.queue.remove(mine)
            for each in node.up():
                each.waiting -= 1

    def _node(self, path: Path) -> _Node:
        node = self._root
        for step in path:
            child = node.children.get(step.name)
            if child is None:
                child = _Node(step, (*node.key, step.name), node)
                child.used, child.at = self._uses.pop(child.key, (0.0, 0.0))
                node.children[step.name] = child
            node = child
        return node

    def _forget_if_idle(self, node: _Node) -> None:
        """Keep of a path that asks for nothing only what it used."""
        for each in node.up():
            if each.parent is None or each.running or each.waiting or each.children:
                return
            if each.parent.children.get(each.step.name) is not each:
                return
            del each.parent.children[each.step.name]
            if each.used:
                self._uses[each.key] = (each.used, each.at)
                while len(self._uses) > USES_KEPT_MAX:
                    self._uses.popitem(last=False)

"""Lookups of tokens that this process has never seen: limited by address, and in turns between addresses.

Anybody can write something that looks like a token. Whoever does so often is told to wait, and whoever has
guessed least is looked up first, so that a new token of somebody else does not wait behind guesses.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from auditlog_api import metrics
from auditlog_api.problem import Problem

MISSES_MAX: Final = 60
"""Tokens that turned out to be none, or may yet, after which an address has to wait."""
MISSES_PER_SECOND: Final = 1.0
"""So many misses of an address are forgotten each second."""
WAITING_MAX: Final = 200
"""Lookups that wait; a further one takes the place of one from whoever has more misses, or is refused."""
ADDRESSES_MAX: Final = 10_000
WAIT_SECONDS_MAX: Final = 10.0


def address_of(host: str | None) -> str:
    """Return what a client is counted by: its IPv4 address, or the /64 network of its IPv6 address."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return (host or "")[:64]
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)


@dataclass(slots=True)
class Guesser:
    """An address: how many misses it has, as of when, and what it has under way."""

    misses: float = 0.0
    at: float = 0.0
    running: int = 0
    under_way: int = 0

    def counts(self) -> tuple[int, float]:
        """Return what it is ordered by: the least comes first."""
        return self.running, self.misses + self.under_way


@dataclass(slots=True, eq=False)
class _Waiting:
    guesser: Guesser
    turn: asyncio.Future[None]


class Guesses:
    """Hands out turns to look up tokens never seen, for one event loop.

    Args:
        most: turns at the same time.
        clock: seconds, only ever growing.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._free = most
        self._clock = clock
        self._guessers: OrderedDict[str, Guesser] = OrderedDict()
        self._waiting: list[_Waiting] = []

    async def take(self, host: str | None) -> Guesser:
        """Wait for a turn of this client; `give_back` ends it.

        Raises:
            Problem: 429, its address has too many misses, or too many wait.
        """
        guesser = self._guesser(address_of(host))
        over = guesser.misses + guesser.under_way - MISSES_MAX
        if over >= 0:
            raise _refused("too_many_guesses", 1 + math.floor(over / MISSES_PER_SECOND))
        guesser.under_way += 1
        mine = _Waiting(guesser, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        if len(self._waiting) > WAITING_MAX:
            # The newest of those with the most: max takes the first of equals.
            worst = max(reversed(self._waiting), key=lambda each: each.guesser.counts())
            self._refuse(worst)
        self._hand_out()
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await mine.turn
        except BaseException as error:
            if mine in self._waiting:
                self._waiting.remove(mine)
                guesser.under_way -= 1
            elif mine.turn.done() and not mine.turn.cancelled() and mine.turn.exception() is None:
                # The turn came together with the end of the wait.
                self.give_back(guesser, missed=False)
            if isinstance(error, TimeoutError):
                raise _refused("too_many_lookups", 1) from None
            raise
        return guesser

    def give_back(self, guesser: Guesser, missed: bool) -> None:
        """End a turn.

        Args:
            guesser: whose it was.
            missed: whether there was no such token.
        """
        self._drain(guesser)
        guesser.misses += missed
        guesser.running -= 1
        guesser.under_way -= 1
        self._free += 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._free and self._waiting:
            first = min(self._waiting, key=lambda each: each.guesser.counts())
            self._waiting.remove(first)
            if first.turn.done():
                # Cancelled, and does not know yet.
                first.guesser.under_way -= 1
                continue
            first.guesser.running += 1
            self._free -= 1
            first.turn.set_result(None)

    def _refuse(self, waiting: _Waiting) -> None:
        self._waiting.remove(waiting)
        waiting.guesser.under_way -= 1
        if not waiting.turn.done():
            waiting.turn.set_exception(_refused("too_many_lookups", 1))

    def _guesser(self, address: str) -> Guesser:
        guesser = self._guessers.setdefault(address, Guesser(at=self._clock()))
        self._guessers.move_to_end(address)
        self._drain(guesser)
        if len(self._guessers) > ADDRESSES_MAX:
            # Few have something under way: `WAITING_MAX` of them and those that have a turn.
            idle = next(key for key, each in self._guessers.items() if not each.under_way)
            del self._guessers[idle]
        return guesser

    def _drain(self, guesser: Guesser) -> None:
        now = self._clock()
        guesser.misses = max(0.0, guesser.misses - (now - guesser.at) * MISSES_PER_SECOND)
        guesser.at = now


def _refused(limit: str, seconds: int) -> Problem:
    metrics.REFUSED.labels(limit).inc()
    detail = "too many tokens that are not known here come from your address; wait before you send another"
    if limit == "too_many_lookups":
        detail = "too many tokens that are not known here are being looked up; try again"
    return Problem(429, "too-many-requests", detail, {"Retry-After": str(seconds)})

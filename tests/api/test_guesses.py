"""Turns to look up tokens never seen, by a clock of the test's own."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from auditlog_api.guesses import ADDRESSES_MAX, MISSES_MAX, WAITING_MAX, Guesser, Guesses, address_of
from auditlog_api.problem import Problem


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def miss(guesses: Guesses, host: str, times: int = 1) -> None:
    for _ in range(times):
        guesses.give_back(await guesses.take(host), missed=True)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
        ("unknown" * 20, ("unknown" * 20)[:64]),
    ],
)
def test_clients_are_counted_by_what_they_cannot_change_at_will(host: str | None, address: str) -> None:
    assert address_of(host) == address


def test_an_address_that_guessed_too_often_waits_and_no_other_does() -> None:
    async def scene() -> None:
        clock = Clock()
        guesses = Guesses(2, clock)
        await miss(guesses, "192.0.2.1", MISSES_MAX)
        with pytest.raises(Problem) as refused:
            await guesses.take("::ffff:192.0.2.1")
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "1")
        await miss(guesses, "192.0.2.2")
        clock.now += 1.0
        await miss(guesses, "192.0.2.1")
        with pytest.raises(Problem):
            await guesses.take("192.0.2.1")
        clock.now += 1_000
        await miss(guesses, "192.0.2.1", MISSES_MAX)
        with pytest.raises(Problem):
            await guesses.take("192.0.2.1")

    asyncio.run(scene())


def test_good_tokens_never_count_against_an_address() -> None:
    async def scene() -> None:
        guesses = Guesses(2, Clock())
        for _ in range(10 * MISSES_MAX):
            guesses.give_back(await guesses.take("192.0.2.1"), missed=False)
        await miss(guesses, "192.0.2.1")

    asyncio.run(scene())


def test_who_has_least_under_way_and_guessed_least_is_next() -> None:
    async def scene() -> None:
        guesses = Guesses(1, Clock())
        await miss(guesses, "192.0.2.1", 3)
        held = await guesses.take("192.0.2.9")
        order: list[str] = []

        async def ask(host: str) -> None:
            turn = await guesses.take(host)
            order.append(host[-1])
            guesses.give_back(turn, missed=True)

        asked = [asyncio.create_task(ask(f"192.0.2.{last}")) for last in (1, 1, 2, 2, 2, 3)]
        await settle()
        guesses.give_back(held, missed=True)
        await asyncio.gather(*asked)
        assert order == ["3", "2", "2", "2", "1", "1"]

    asyncio.run(scene())


def test_a_newcomer_takes_the_place_of_somebody_who_has_many() -> None:
    async def scene() -> None:
        guesses = Guesses(1, Clock())
        held = await guesses.take("192.0.2.200")
        hosts = [f"192.0.2.{index % 5}" for index in range(WAITING_MAX)]
        waiting = [asyncio.create_task(guesses.take(host)) for host in hosts]
        await settle()
        newcomer = asyncio.create_task(guesses.take("198.51.100.1"))
        await settle()
        gone = [each for each in waiting if each.done()]
        assert len(gone) == 1
        assert isinstance(gone[0].exception(), Problem)
        guesses.give_back(held, missed=True)
        turn = await newcomer
        assert isinstance(turn, Guesser)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        guesses.give_back(turn, missed=False)
        # Those who went away left nothing behind: all misses are free again.
        await miss(guesses, "192.0.2.1", MISSES_MAX)

    asyncio.run(scene())


def test_a_turn_that_comes_to_somebody_who_just_left_goes_on_to_the_next() -> None:
    async def scene() -> None:
        guesses = Guesses(1, Clock())
        held = await guesses.take("192.0.2.1")
        leaving = asyncio.create_task(guesses.take("192.0.2.2"))
        staying = asyncio.create_task(guesses.take("192.0.2.3"))
        await settle()
        guesses.give_back(held, missed=False)
        leaving.cancel()
        assert await asyncio.wait_for(staying, 10)

    asyncio.run(scene())


def test_however_many_addresses_guess_memory_is_bounded() -> None:
    async def scene() -> None:
        guesses = Guesses(2, Clock())
        for index in range(ADDRESSES_MAX):
            await miss(guesses, f"2001:db8:0:{index:x}::1")
        tracemalloc.start()
        for index in range(2 * ADDRESSES_MAX):
            await miss(guesses, f"2001:db9:{index >> 8:x}:{index & 255:x}::1")
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(guesses._guessers) == ADDRESSES_MAX
        assert grown < 8_000_000

    asyncio.run(scene())

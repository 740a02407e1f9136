"""The scheduler: simulated time, and processes of which nothing runs on after their end."""

from __future__ import annotations

import pytest

from simulated.kernel import EVENTS_MAX, Hung, Kernel, Process
from simulated.sim_runtime import SimFlag, SimPool, SimRuntime


def test_time_goes_on_only_by_waiting() -> None:
    kernel = Kernel(0)
    process, seen = Process(kernel, "p"), list[float]()

    def body() -> None:
        for seconds in (1.5, 0.0, 2.0):
            kernel.sleep(process, seconds)
            seen.append(kernel.now)

    kernel.spawn(process, "t", body)
    assert not kernel.run(lambda: False, 10)
    assert seen == [1.5, 1.5, 3.5]
    assert kernel.now == 10


def test_a_killed_process_does_nothing_more_not_even_while_it_unwinds() -> None:
    kernel = Kernel(0)
    process, done = Process(kernel, "p"), list[str]()

    def body() -> None:
        try:
            kernel.sleep(process, 5)
            done.append("slept")
        finally:
            kernel.sleep(process, 5)
            done.append("cleaned up")

    kernel.spawn(process, "t", body)
    kernel.at(1, lambda: kernel.kill(process))
    kernel.run(lambda: False, 100)
    assert done == []
    assert process.tasks == set()


def test_a_paused_process_goes_on_later_and_no_task_of_it_sooner() -> None:
    kernel = Kernel(0)
    process, seen = Process(kernel, "p"), list[float]()
    for seconds in (1.0, 2.0, 30.0):

        def body(seconds: float = seconds) -> None:
            kernel.sleep(process, seconds)
            seen.append(kernel.now)

        kernel.spawn(process, "t", body)
    kernel.at(0.5, lambda: kernel.pause(process, 10))
    kernel.run(lambda: False, 100)
    *late, last = sorted(seen)
    assert all(10.5 <= at <= 11.5 for at in late)
    assert (len(late), round(last, 1)) == (2, 30.0)


def test_who_waits_for_a_flag_goes_on_when_it_is_set_or_the_time_is_over() -> None:
    kernel = Kernel(0)
    process = Process(kernel, "p")
    flag, seen = SimFlag(process), list[tuple[bool, float]]()
    for seconds in (1.0, 5.0, None):

        def body(seconds: float | None = seconds) -> None:
            seen.append((flag.wait(seconds), kernel.now))

        kernel.spawn(process, "t", body)
    kernel.at(3, flag.set)
    kernel.run(lambda: False, 10)
    assert seen == [(False, 1.0), (True, 3.0), (True, 3.0)]


def test_a_pool_runs_so_many_at_once_and_hands_over_what_they_return_or_raise() -> None:
    kernel = Kernel(0)
    process = Process(kernel, "p")
    pool, began = SimPool(process, 2, "pool"), list[float]()

    def work(number: int) -> int:
        began.append(kernel.now)
        kernel.sleep(process, 1)
        if number == 2:
            raise ValueError(number)
        return number

    futures = [pool.submit(work, number) for number in range(4)]
    SimRuntime(process).wait(futures, 60)
    assert began == [0, 0, 1, 1]
    assert [future.result() for future in futures if future is not futures[2]] == [0, 1, 3]
    with pytest.raises(ValueError, match="2"):
        futures[2].result()
    assert kernel.now == 2


def test_what_a_task_raises_ends_the_run() -> None:
    kernel = Kernel(0)
    process = Process(kernel, "p")

    def body() -> None:
        raise KeyError("gone")

    kernel.spawn(process, "t", body)
    with pytest.raises(KeyError, match="gone"):
        kernel.run(lambda: False, 1)


def test_spinning_is_noticed() -> None:
    kernel = Kernel(0)
    process = Process(kernel, "p")

    def body() -> None:
        while True:
            kernel.sleep(process, 0)

    kernel.spawn(process, "t", body)
    with pytest.raises(Hung, match=str(EVENTS_MAX)):
        kernel.run(lambda: False, 1)
    kernel.kill(process)

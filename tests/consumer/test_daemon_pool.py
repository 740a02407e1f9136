"""The pool gives results and exceptions, and a thread that hangs does not keep the process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from auditlog_consumer.daemon_pool import DaemonPool


def test_results_and_exceptions_are_the_futures() -> None:
    pool = DaemonPool(2, "test")
    assert pool.submit(divmod, 7, 2).result(5) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result(5)
    assert pool.submit(divmod, 9, 2).result(5) == (4, 1)
    pool.shutdown()


def test_as_many_run_at_once_as_there_are_threads() -> None:
    pool, meeting = DaemonPool(2, "test"), threading.Barrier(2, timeout=5)
    first, second = pool.submit(meeting.wait), pool.submit(meeting.wait)
    assert {first.result(5), second.result(5)} == {0, 1}
    pool.shutdown()


def test_a_cancelled_future_is_not_run() -> None:
    pool, gate, ran = DaemonPool(1, "test"), threading.Event(), list[int]()
    waiting = pool.submit(gate.wait, 5)
    cancelled = pool.submit(ran.append, 1)
    assert cancelled.cancel()
    gate.set()
    waiting.result(5)
    pool.submit(ran.append, 2).result(5)
    assert ran == [2]
    pool.shutdown()


def test_the_process_ends_while_a_thread_hangs() -> None:
    script = (
        "import time; from auditlog_consumer.daemon_pool import DaemonPool\n"
        "DaemonPool(1, 'test').submit(time.sleep, 60)"
    )
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
    assert time.monotonic() - begun < 20

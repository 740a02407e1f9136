"""Closing, forking, exiting, and many threads."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

from auditlog_producers import AuditProducer, TerminalError
from auditlog_producers.checked_event import decoded
from kit.producing import Read

PRELUDE = """
import os, sys, time
from auditlog_producers import *
PARTS = dict(account_id="a", action="license_reset", entity=Entity(type="license", id="l"),
             actor=Actor(type="system", id="s"))
producer = AuditProducer(sys.argv[1], service="s", topic=sys.argv[2])
"""

# Each try is a process that has made no event yet: a fork of this one, which only imports the SDK.
FIRST_EVENTS = """
import os, random, sys, threading, time, warnings
from datetime import UTC, datetime
from uuid import UUID
from auditlog_producers import InvalidEvent
from auditlog_schemas.event import AuditEvent

warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, of every fork with threads
sys.setswitchinterval(1e-6)
EVENT = dict(event_id=UUID(int=7), occurred_at=datetime.now(UTC), account_id="a", action="a",
             entity=dict(type="t", id="i"), actor=dict(type="system", id="i"),
             source=dict(service="s", instance_id="i", sequence=1))
TEXT = EVENT | dict(event_id=str(UUID(int=7)), occurred_at="2026-01-01T00:00:00Z")

def make():
    if sys.argv[1] == "refused":
        for field in ("actor", "occurred_at", "event_id", "action_version", "sequence"):
            try:
                AuditEvent.parse(TEXT | {field: "x"})
            except InvalidEvent:
                continue
            os._exit(9)
    else:
        AuditEvent.parse(TEXT if sys.argv[1] == "text" else EVENT)

def fork(work, seconds):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(7)
    ends = time.monotonic() + seconds
    while (done := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < ends:
        time.sleep(0.0005)
    if done[0] == 0:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return "hangs"
    return os.waitstatus_to_exitcode(done[1])

def attempt():
    for thread in [threading.Thread(target=make) for _ in range(3)]:
        thread.start()
    ends = time.perf_counter() + random.random() * 0.0003
    while time.perf_counter() < ends:
        pass
    if fork(make, 15) != 7:
        os._exit(8)

for number in range(150):
    if (end := fork(attempt, 30)) != 7:
        sys.exit(f"try {number}: {end}")
"""


def _run(program: str, kafka: str, topic: str) -> subprocess.CompletedProcess[str]:
    return _python(PRELUDE + textwrap.dedent(program), kafka, topic)


def _python(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", source, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_closing_twice_is_fine_and_nothing_is_taken_afterwards(
    mock_kafka: str, parts: dict[str, Any]
) -> None:
    producer = AuditProducer(mock_kafka, service="s")
    handle = producer.record(**parts)
    producer.close()
    producer.close()
    assert handle.result(0).offset >= 0
    with pytest.raises(TerminalError, match="closed"):
        producer.record(**parts)
    assert producer.flush(0) == 0
    assert producer.stats.delivered == 1


def test_leaving_the_with_block_delivers_everything(mock_kafka: str, parts: dict[str, Any]) -> None:
    with AuditProducer(mock_kafka, service="s") as producer:
        handles = [producer.record(**parts) for _ in range(100)]
    assert all(handle.done() and handle.error is None for handle in handles)


def test_eight_threads_share_one_sequence_without_holes(
    producer: AuditProducer, mock_kafka: str, topic: str, parts: dict[str, Any], read: Read
) -> None:
    numbers: list[list[int]] = [[] for _ in range(8)]

    def work(mine: list[int], account: str) -> None:
        for _ in range(1000):
            mine.append(producer.record(**parts | {"account_id": account}).sequence)

    threads = [threading.Thread(target=work, args=(mine, f"acc_{n}")) for n, mine in enumerate(numbers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert producer.flush(30) == 0
    assert sorted(number for mine in numbers for number in mine) == list(range(1, 8001))
    assert all(mine == sorted(mine) for mine in numbers)
    stored = [decoded(message.value() or b"").source.sequence for message in read(mock_kafka, topic, 8000)]
    assert sorted(stored) == list(range(1, 8001))


def test_after_a_fork_the_child_is_told_and_the_parent_goes_on(mock_kafka: str, topic: str) -> None:
    done = _run(
        """
        producer.record(**PARTS).result(60)
        pid = os.fork()
        if pid == 0:
            for attempt in (lambda: producer.record(**PARTS), lambda: producer.flush(1)):
                try:
                    attempt()
                except TerminalError as error:
                    assert "os.fork" in str(error)
                else:
                    os._exit(9)
            producer.close()
            with AuditProducer(sys.argv[1], service="s", topic=sys.argv[2]) as own:
                assert own.instance_id != producer.instance_id
                own.record(**PARTS).result(60)
            sys.exit(7)
        started = time.monotonic()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert producer.record(**PARTS).result(60).offset == 2
        producer.close()
        """,
        mock_kafka,
        topic,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fork_while_other_threads_publish_does_not_deadlock(mock_kafka: str, topic: str) -> None:
    done = _run(
        """
        import threading
        stop = threading.Event()
        def work():
            while not stop.is_set():
                producer.record(**PARTS)
        threads = [threading.Thread(target=work) for _ in range(3)]
        [thread.start() for thread in threads]
        for _ in range(10):
            pid = os.fork()
            if pid == 0:
                try:
                    producer.record(**PARTS)
                except TerminalError:
                    producer.stats
                    producer.close()
                    os._exit(7)
                os._exit(9)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        stop.set()
        [thread.join() for thread in threads]
        producer.close()
        """,
        mock_kafka,
        topic,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["objects", "text", "refused"])
def test_a_fork_while_threads_make_their_first_event_lets_the_child_make_one(kind: str) -> None:
    done = _python(FIRST_EVENTS, kind)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_producer_that_is_never_closed_delivers_at_exit(mock_kafka: str, topic: str, read: Read) -> None:
    done = _run("[producer.record(**PARTS) for _ in range(20)]", mock_kafka, topic)
    assert (done.returncode, done.stderr) == (0, "")
    read(mock_kafka, topic, 20)


def test_what_is_lost_at_exit_is_said(nobody: str, topic: str) -> None:
    done = _run(
        """
        from auditlog_producers import lifetime
        lifetime.EXIT_FLUSH_SECONDS_MAX = 0.2
        producer.record(**PARTS)
        """,
        nobody,
        topic,
    )
    assert done.returncode == 0
    assert "at exit: 1 audit events were accepted but not delivered" in done.stderr

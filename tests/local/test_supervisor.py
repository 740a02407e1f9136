"""Children: readiness, logs, restarts with backoff, stopping in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from auditlog_local import child as child_module
from auditlog_local import supervisor as supervisor_module
from auditlog_local.child import Child, ChildFailed, ChildSpec
from auditlog_local.supervisor import ChildEvent, Supervisor
from auditlog_schemas.errors import ConfigError
from kit.stopwatch import Stopwatch
from local.python_child import SLEEP, python, wait_for


def test_a_child_is_ready_when_it_says_so(
    supervisor: Supervisor, events: list[ChildEvent], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    code = f"import time, pathlib; time.sleep(0.3); pathlib.Path({str(mark)!r}).touch(); {SLEEP}"
    supervisor.start(python("slow", code, ready=mark.exists))
    assert mark.exists()
    assert [(e.name, e.event) for e in events] == [("slow", "starting"), ("slow", "ready")]


def test_a_child_that_ends_at_its_start_is_an_error_with_its_last_words(supervisor: Supervisor) -> None:
    with pytest.raises(ChildFailed, match=r"broken ended with exit code 3(.|\n)*the reason"):
        supervisor.start(
            python("broken", "import sys; sys.exit(print('the reason') or 3)", ready=lambda: False)
        )


def test_a_child_that_never_gets_ready_is_stopped(supervisor: Supervisor) -> None:
    spec = ChildSpec("stuck", (sys.executable, "-c", SLEEP), ready=lambda: False, ready_timeout_seconds=0.3)
    with pytest.raises(ChildFailed, match="not ready within"):
        supervisor.start(spec)
    assert supervisor.pids == {}


def test_a_crash_is_told_and_mended(supervisor: Supervisor, events: list[ChildEvent], tmp_path: Path) -> None:
    mark = tmp_path / "crashed"
    code = (
        "import os, pathlib, sys, time\nprint('hello', flush=True)\nm = pathlib.Path(sys.argv[1])\n"
        "if not m.exists():\n time.sleep(0.3); m.touch(); print('dying', flush=True)\n"
        " os.kill(os.getpid(), 9)\n"
        "time.sleep(600)"
    )
    supervisor.start(python("shaky", code, str(mark)))
    wait_for(events, "shaky", "ready", 2)
    kinds = [e.event for e in events]
    assert kinds == ["starting", "ready", "crashed", "restarted", "ready"]
    assert "exit code 137" in events[2].detail
    assert "dying" in events[2].detail
    assert supervisor.kept_down == ()


def test_a_start_that_failed_succeeds_when_its_cause_is_gone(
    tmp_path: Path, supervisor: Supervisor, events: list[ChildEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_SECONDS", 0.01)
    child = supervisor.start(python("patient", SLEEP))
    (tmp_path / "logs").rename(tmp_path / "away")
    (tmp_path / "logs").write_text("")
    assert child.pid is not None
    os.killpg(child.pid, signal.SIGKILL)
    wait_for(events, "patient", "crashed", 2)
    (tmp_path / "logs").unlink()
    wait_for(events, "patient", "ready", 2)
    assert supervisor.kept_down == ()


def test_a_child_that_cannot_be_watched_is_started_again(
    supervisor: Supervisor, events: list[ChildEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_SECONDS", 0.01)
    asked: list[int] = []

    def ready() -> bool:
        asked.append(1)
        if len(asked) == 2:
            raise OSError("too many open files")
        return True

    child = supervisor.start(python("unclear", SLEEP, ready=ready))
    first = child.pid
    assert first is not None
    os.killpg(first, signal.SIGKILL)
    wait_for(events, "unclear", "ready", 2)
    assert [e.detail.splitlines()[0] for e in events if e.event == "crashed"] == [
        "ended with exit code -9",
        "cannot be started or watched (OSError: too many open files)",
    ]
    assert supervisor.kept_down == ()


def test_who_is_told_may_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[ChildEvent] = []

    def tell(event: ChildEvent) -> None:
        told.append(event)
        raise BrokenPipeError

    supervisor = Supervisor(tmp_path / "logs", tell)
    child = supervisor.start(python("server", SLEEP))
    assert child.pid is not None
    os.killpg(child.pid, signal.SIGKILL)
    wait_for(told, "server", "ready", 2)
    supervisor.stop()
    assert [e.event for e in told] == ["starting", "ready", "crashed", "restarted", "ready", "stopped"]
    assert "server crashed failed" in caplog.text


def test_one_that_cannot_be_stopped_holds_up_no_other(
    tmp_path: Path, events: list[ChildEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(tmp_path / "logs", events.append)
    server = supervisor.start(python("server", SLEEP))
    stuck = supervisor.start(python("stuck", SLEEP))
    stop = stuck.stop

    def stop_in_vain() -> None:
        stop()
        raise subprocess.TimeoutExpired("stuck", 5)

    monkeypatch.setattr(stuck, "stop", stop_in_vain)
    supervisor.stop()
    assert server.pid is None
    assert [e.name for e in events if e.event == "stopped"] == ["stuck", "server"]
    assert "may still run" in events[-2].detail


def test_children_stop_in_reverse_and_by_force_where_needed(tmp_path: Path, events: list[ChildEvent]) -> None:
    supervisor = Supervisor(tmp_path / "logs", events.append)
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); "
    deaf = ignore + SLEEP
    log = tmp_path / "logs" / "deaf.log"
    supervisor.start(python("server", SLEEP))
    supervisor.start(python("deaf", deaf, ready=lambda: log.read_text() == "1\n"))
    supervisor.start(python("consumer-1", SLEEP))
    supervisor.start(python("consumer-2", SLEEP))
    began, watch = time.monotonic(), Stopwatch()
    supervisor.stop()
    assert time.monotonic() - began > 2.5
    assert watch.seconds < 6
    stopped = [e.name for e in events if e.event == "stopped"]
    assert stopped == ["consumer-2", "consumer-1", "deaf", "server"]
    supervisor.stop()


def test_a_large_log_is_set_aside_at_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "LOG_BYTES_MAX", 10)
    (tmp_path / "noisy.log").write_text("x" * 11)
    child = Child(python("noisy", "print('new')"), tmp_path)
    child.start()
    while child.exit_code() is None:
        time.sleep(0.02)
    child.stop()
    assert (tmp_path / "noisy.log").read_text() == "new\n"
    assert (tmp_path / "noisy.log.1").read_text() == "x" * 11


def test_the_last_words_are_those_of_the_last_run_without_javas_frames(tmp_path: Path) -> None:
    traced = "boom\\n\\tat kafka.Kafka.main(Kafka.scala)\\n\\tat kafka.Kafka.main(Kafka)"
    child = Child(
        python("brief", f"import pathlib, sys; print(sys.argv[1]); print('{traced}')", "one"), tmp_path
    )
    (tmp_path / "brief.log").write_text("of an earlier day\n")
    for _ in range(2):
        child.start()
        while child.exit_code() is None:
            time.sleep(0.02)
        assert child.tail() == "one\nboom"
        assert child.tail(1) == "boom"
    child.stop()
    assert (tmp_path / "brief.log").read_text().count("\tat kafka") == 4


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(ConfigError, match="cannot write the log"):
        Child(python("any", "pass"), tmp_path / "logs").start()

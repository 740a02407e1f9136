"""Children: readiness, logs, restarts with backoff, giving up, stopping in order."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auditlog_local import child as child_module
from auditlog_local import supervisor as supervisor_module
from auditlog_local.child import Child, ChildFailed, ChildSpec
from auditlog_local.supervisor import ChildEvent, Supervisor
from auditlog_schemas.errors import ConfigError
from kit.stopwatch import Stopwatch

SLEEP = "import time; time.sleep(600)"


def python(name: str, code: str, *arguments: str, ready: Callable[[], bool] = lambda: True) -> ChildSpec:
    argv = (sys.executable, "-c", code, *arguments)
    return ChildSpec(name, argv, ready=ready, ready_timeout_seconds=60, stop_timeout_seconds=3)


@pytest.fixture
def events() -> list[ChildEvent]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, events: list[ChildEvent]) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "logs", events.append)
    yield made
    made.stop()


def wait_for(events: list[ChildEvent], name: str, event: str, count: int = 1, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while sum(e.name == name and e.event == event for e in events) < count:
        assert time.monotonic() < deadline, events
        time.sleep(0.02)


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
    assert kinds == ["starting", "ready", "crashed", "restarting", "ready"]
    assert "exit code 137" in events[2].detail
    assert "dying" in events[2].detail
    assert not supervisor.wait(0.1)


def test_what_crashes_again_and_again_is_given_up(
    supervisor: Supervisor, events: list[ChildEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_SECONDS", 0.01)
    supervisor.start(python("hopeless", "import time; time.sleep(0.2); raise SystemExit('no hope')"))
    with pytest.raises(ChildFailed, match=r"hopeless ended with exit code 1, 6 times(.|\n)*no hope"):
        supervisor.wait(60)
    assert sum(e.event == "restarting" for e in events) == supervisor_module.QUICK_CRASHES_MAX
    assert events[-1].event == "gave_up"


def test_a_start_that_fails_is_a_crash_and_is_given_up(
    tmp_path: Path, supervisor: Supervisor, events: list[ChildEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_SECONDS", 0.01)
    supervisor.start(python("server", SLEEP))
    child = supervisor.start(python("homeless", "import time; time.sleep(0.5)"))
    shutil.rmtree(tmp_path / "logs")
    (tmp_path / "logs").write_text("no directory any more")
    # As when it ran for a while before the disk went away.
    monkeypatch.setattr(child, "started_at", -1e9)
    with pytest.raises(ChildFailed, match=r"homeless cannot be .*ConfigError: cannot write the log"):
        supervisor.wait(60)
    assert list(supervisor.pids) == ["server"]
    server = supervisor.pids["server"]
    (tmp_path / "logs").unlink()
    os.killpg(server, signal.SIGKILL)
    wait_for(events, "server", "ready", 2)
    assert supervisor.pids["server"] != server


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
    assert not supervisor.wait(0.1)


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
    assert not supervisor.wait(0.1)


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
    assert [e.event for e in told] == ["starting", "ready", "crashed", "restarting", "ready", "stopped"]
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


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(ConfigError, match="cannot write the log"):
        Child(python("any", "pass"), tmp_path / "logs").start()

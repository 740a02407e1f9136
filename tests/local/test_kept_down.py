"""A child that keeps failing is told once and kept down; the others go on; it comes back by itself."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from auditlog_local import supervisor as supervisor_module
from auditlog_local.supervisor import (
    BACKOFF_SECONDS,
    KEPT_DOWN_SECONDS,
    KEPT_DOWN_SECONDS_MAX,
    QUICK_CRASHES_MAX,
    ChildEvent,
    Supervisor,
    pause_seconds,
)
from local.python_child import SLEEP, python, wait_for

HOPELESS = "import time; time.sleep(0.1); raise SystemExit('no hope')"


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(supervisor_module, "KEPT_DOWN_SECONDS", 0.3)
    monkeypatch.setattr(supervisor_module, "KEPT_DOWN_SECONDS_MAX", 0.5)


def kinds(events: list[ChildEvent], name: str) -> list[str]:
    return [event.event for event in events if event.name == name]


def kill(supervisor: Supervisor, name: str) -> None:
    os.killpg(supervisor.pids[name], signal.SIGKILL)


def test_what_crashes_again_and_again_is_kept_down_and_told_once(
    supervisor: Supervisor, events: list[ChildEvent], tmp_path: Path
) -> None:
    server = supervisor.start(python("server", SLEEP))
    supervisor.start(python("hopeless", HOPELESS))
    wait_for(events, "hopeless", "still_down", 3)
    found = kinds(events, "hopeless")
    # One more than the crashes that are told: the last one is told as what follows from it.
    assert [found.count(kind) for kind in ("crashed", "kept_down")] == [QUICK_CRASHES_MAX, 1]
    after = [kind for kind in found[found.index("kept_down") + 1 :] if kind != "restarted"]
    assert set(after) == {"still_down"}
    [told] = [event.detail for event in events if event.event == "kept_down"]
    log = tmp_path / "logs" / "hopeless.log"
    first, tail = told.splitlines()
    assert first == f"ended with exit code 1, {QUICK_CRASHES_MAX + 1} times in a row; its log is {log}"
    assert tail == "no hope"
    [down] = supervisor.kept_down
    assert (down.name, down.last_line, down.log) == ("hopeless", "no hope", str(log))
    counted = re.fullmatch(r"ended with exit code 1, (\d+) times in a row", down.reason)
    assert counted, down
    assert int(counted[1]) >= QUICK_CRASHES_MAX + 1 + 3
    assert server.exit_code() is None
    assert not supervisor.wait(0.1)


def test_the_others_are_looked_after_while_several_are_kept_down(
    supervisor: Supervisor, events: list[ChildEvent]
) -> None:
    supervisor.start(python("server", SLEEP))
    for name in ("consumer-1", "consumer-2", "worker"):
        supervisor.start(python(name, f"import time; time.sleep(0.1); raise SystemExit('{name} ends')"))
    for name in ("consumer-1", "consumer-2", "worker"):
        wait_for(events, name, "kept_down")
    assert {down.name: down.last_line for down in supervisor.kept_down} == {
        name: f"{name} ends" for name in ("consumer-1", "consumer-2", "worker")
    }
    kill(supervisor, "server")
    wait_for(events, "server", "ready", 2)
    late = supervisor.start(python("late", SLEEP))
    assert late.exit_code() is None
    assert len(supervisor.kept_down) == 3


def test_one_whose_cause_is_mended_comes_back_by_itself(
    supervisor: Supervisor, events: list[ChildEvent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "QUICK_SECONDS", 2.0)
    mended = tmp_path / "mended"
    code = (
        "import pathlib, sys, time\ntime.sleep(0.1)\n"
        "if not pathlib.Path(sys.argv[1]).exists(): sys.exit('broken')\ntime.sleep(600)"
    )
    supervisor.start(python("patient", code, str(mended)))
    wait_for(events, "patient", "still_down")
    mended.touch()
    began = time.monotonic()
    seen = len(events)
    ready = kinds(events, "patient").count("ready")
    wait_for(events, "patient", "ready", ready + 1)
    # A process that has only just started proves nothing.
    assert time.monotonic() - began > 2.0
    assert set(kinds(events[seen:], "patient")) <= {"restarted", "still_down", "ready"}
    assert supervisor.kept_down == ()
    crashed = kinds(events, "patient").count("crashed")
    kill(supervisor, "patient")
    wait_for(events, "patient", "crashed", crashed + 1)
    wait_for(events, "patient", "ready", ready + 2)


def test_one_that_never_gets_ready_again_is_kept_down_however_long_that_takes(
    supervisor: Supervisor, events: list[ChildEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "QUICK_SECONDS", 0.05)
    answers = iter([True])
    supervisor.start(python("mute", SLEEP, ready=lambda: next(answers, False), ready_timeout_seconds=0.3))
    kill(supervisor, "mute")
    wait_for(events, "mute", "kept_down")
    [down] = supervisor.kept_down
    assert down.reason.startswith("was not ready in time after its restart")
    assert "mute" not in supervisor.pids


def test_one_that_works_for_long_between_crashes_is_started_again_and_again(
    supervisor: Supervisor, events: list[ChildEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "QUICK_SECONDS", 0.05)
    supervisor.start(python("weary", "import time; time.sleep(0.6)"))
    wait_for(events, "weary", "crashed", QUICK_CRASHES_MAX + 3)
    assert "kept_down" not in kinds(events, "weary")


def test_one_whose_log_cannot_be_written_is_kept_down_and_comes_back(
    tmp_path: Path, supervisor: Supervisor, events: list[ChildEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor.start(python("server", SLEEP))
    child = supervisor.start(python("homeless", SLEEP))
    shutil.rmtree(tmp_path / "logs")
    (tmp_path / "logs").write_text("no directory any more")
    monkeypatch.setattr(supervisor_module, "QUICK_SECONDS", 0.5)
    assert child.pid is not None
    os.killpg(child.pid, signal.SIGKILL)
    wait_for(events, "homeless", "kept_down")
    [down] = supervisor.kept_down
    assert "ConfigError: cannot write the log" in down.reason
    assert (down.last_line, list(supervisor.pids)) == ("", ["server"])
    (tmp_path / "logs").unlink()
    wait_for(events, "homeless", "ready", 2)
    assert set(supervisor.pids) == {"server", "homeless"}


def test_pids_are_right_at_every_event(tmp_path: Path) -> None:
    told: list[ChildEvent] = []
    listed: list[int | None] = []

    def tell(event: ChildEvent) -> None:
        pid = supervisor.pids.get("hopeless")
        # A process of that number that is a child of ours, if only just.
        if pid is not None and f"PPid:\t{os.getpid()}\n" not in Path(f"/proc/{pid}/status").read_text():
            pid = -1
        listed.append(pid)
        told.append(event)

    supervisor = Supervisor(tmp_path / "logs", tell)
    # It lives long enough to be seen by whoever is told that it was started.
    supervisor.start(python("hopeless", "import time; time.sleep(1)"))
    wait_for(told, "hopeless", "still_down", 2)
    supervisor.stop()
    seen = [(event.event, pid) for event, pid in zip(told, listed, strict=True)]
    assert -1 not in listed, seen
    for event, pid in seen:
        assert (pid is not None) == (event in ("starting", "restarted", "ready")), seen
    started = [pid for event, pid in seen if event in ("starting", "restarted")]
    assert len(set(started)) == len(started) >= QUICK_CRASHES_MAX + 3


def test_what_is_kept_down_is_stopped_with_the_others(
    supervisor: Supervisor, events: list[ChildEvent]
) -> None:
    supervisor.start(python("hopeless", HOPELESS))
    wait_for(events, "hopeless", "kept_down")
    supervisor.stop()
    assert kinds(events, "hopeless")[-1] == "stopped"
    assert (supervisor.pids, supervisor.kept_down) == ({}, ())
    before = len(events)
    time.sleep(1.0)
    assert len(events) == before


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_SECONDS", BACKOFF_SECONDS)
    monkeypatch.setattr(supervisor_module, "KEPT_DOWN_SECONDS", KEPT_DOWN_SECONDS)
    monkeypatch.setattr(supervisor_module, "KEPT_DOWN_SECONDS_MAX", KEPT_DOWN_SECONDS_MAX)


def test_pauses_grow_from_seconds_to_minutes_and_never_end(long_pauses: None) -> None:
    pauses = [pause_seconds(crashes) for crashes in range(1, 12)]
    assert pauses == [0.5, 1, 2, 4, 8, 60, 120, 240, 300, 300, 300]
    assert pause_seconds(1_000_000) == 300

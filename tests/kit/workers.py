"""How the tests are spread over pytest-xdist's workers, and what is said of those that fail.

`scripts/test` runs as many workers as the machine can carry (`-n auto --dist loadfile`), each with servers
of its own. Most tests wait for servers, so there are more workers than processors. A file is run by one
worker, in its order, since its tests may share servers. What is known to take long begins first, what only
computes comes last, in small pieces: so all workers end at about the same time.
"""

from __future__ import annotations

import os
import shlex
from typing import Any, Final

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

FILES_OF_SINGLE_TESTS: Final = frozenset(
    {"tests/simulation/test_simulation.py", "tests/simulation/test_breakages.py"}
)
"""Their tests share nothing and take long: each may run on another worker."""

WORKER_BYTES: Final = 3 << 30
"""What a worker may need at most at one time: its own Kafka and ClickHouse, and a test's own stack."""

WORKERS_MORE: Final = 1
"""Than processors. With more, each waits longer for the others, and idle servers take what is gained."""


class Spread(LoadFileScheduling):  # type: ignore[misc]
    """Hands out whole files in the order in which they were collected, and the tests of some files singly."""

    def _split_scope(self, nodeid: str) -> str:
        return piece_of(nodeid)


def piece_of(nodeid: str) -> str:
    """Return the name of the piece of work that this test is in: what one worker runs in one go."""
    file = nodeid.partition("::")[0]
    return nodeid if file in FILES_OF_SINGLE_TESTS else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread | None:
    """Take the place of `--dist loadfile`."""
    if config.getvalue("dist") != "loadfile":
        return None
    # By the number of tests in a file, which says little about how long they take.
    config.option.loadscopereorder = False
    return Spread(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Say how many workers `-n auto` means here; for tests without servers one for each processor."""
    processors = len(os.sched_getaffinity(0))
    if "not integration" in config.option.markexpr:
        return processors
    memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(processors + WORKERS_MORE, memory // WORKER_BYTES))


class Announcer:
    """Names a test as soon as it has failed: the dots of several workers do not say which one it was."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Say which test failed, in which phase and after how long."""
        if report.failed:
            self._terminal.write_line(f"\nFAILED {report.nodeid} ({report.when}, {report.duration:.0f} s)")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Announce failures where tests run on workers."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and config.getvalue("numprocesses"):
        config.pluginmanager.register(Announcer(terminal))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a worker, put the pieces with long tests first, then those that need servers, then the others."""
    if not hasattr(config, "workerinput"):
        return
    ranks: dict[str, int] = {}
    for item in items:
        piece = piece_of(item.nodeid)
        ranks[piece] = min(_rank(item), ranks.get(piece, 2))
    items.sort(key=lambda item: ranks[piece_of(item.nodeid)])


def _rank(item: pytest.Item) -> int:
    if item.get_closest_marker("long") is not None:
        return 0
    return 1 if item.get_closest_marker("integration") is not None else 2


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how to run each failed test alone."""
    reports = [report for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, [])]
    # Two reports of one test, for example of its call and its teardown, are one line.
    failed = dict.fromkeys(report.nodeid for report in reports)
    if failed:
        terminalreporter.section("run it alone")
    for nodeid in failed:
        terminalreporter.write_line(f".venv/bin/python -m pytest {shlex.quote(nodeid)}")

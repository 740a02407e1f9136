"""Log lines: ours and those of libraries, for people and for collectors."""

from __future__ import annotations

import json
import subprocess
import sys

LINES = """
import logging, sys
import structlog
from auditlog_cli.logs import configure_logs
configure_logs(as_json=sys.argv[1] == "json")
log = structlog.get_logger("auditlog.consumer")
log.warning("waiting", partition="events/3", first_offset=7, last_offset=9)
logging.getLogger("some.library").warning("pool is %s \\x1b[31m", "full")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("some.library").exception("failed")
"""


def run(kind: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LINES, kind], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_every_line_is_json_for_a_collector() -> None:
    ours, theirs, failed = map(json.loads, run("json"))
    assert ours.pop("timestamp").endswith("Z")
    assert ours == {
        "event": "waiting",
        "level": "warning",
        "partition": "events/3",
        "first_offset": 7,
        "last_offset": 9,
    }
    assert theirs["event"].startswith("pool is full ")
    assert "\x1b" not in theirs["event"]
    assert (theirs["level"], theirs["logger"]) == ("warning", "some.library")
    assert "ZeroDivisionError" in failed["exception"]


def test_people_read_one_line_each_without_escapes() -> None:
    ours, theirs, *_ = run("text")
    assert "waiting" in ours
    assert "partition=events/3" in ours
    assert "pool is full" in theirs
    assert "\x1b" not in theirs

"""The engine comes back with its last parts missing: the check finds it and the repair refills it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kit.events import make_event
from kit.made_log import MadeLog
from kit.servers import own_clickhouse

pytestmark = pytest.mark.integration


def last_part_directories(log: MadeLog, count: int) -> list[Path]:
    rows = log.connection.query_rows(
        "SELECT path FROM system.parts "
        "WHERE database = currentDatabase() AND table = 'audit_events' AND active "
        "ORDER BY min_block_number DESC LIMIT {count:UInt32}",
        {"count": count},
    )
    return [Path(row[0]) for row in rows]


def test_parts_that_are_gone_after_a_restart(kafka_bootstrap: str, tmp_path: Path) -> None:
    with own_clickhouse(tmp_path) as (child, url):
        log = MadeLog(kafka_bootstrap, f"{url}/audit")
        log.publish(*(make_event(account_id=f"acc_{number % 5}") for number in range(60)))
        for first in (0, 20, 40):
            log.store(first, first + 19)
        before = log.connection.query_rows("SELECT * FROM audit_events ORDER BY kafka_offset")
        parts = last_part_directories(log, 3)
        log.connection.close()
        child.stop()
        for part in parts:
            shutil.rmtree(part)
        child.start()
        child.wait_ready()
        lost = 60 - len(log.stored())
        assert lost > 0
        kinds = {finding.kind for finding in log.check().findings}
        assert kinds == {"missing_rows"}
        done = log.repair()
        assert (done.stored, done.report.findings) == (lost, [])
        assert log.connection.query_rows("SELECT * FROM audit_events ORDER BY kafka_offset") == before
        log.close()

"""`auditlog check` and `auditlog repair` as a person runs them, on a log that was made wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cli.ran import Run
from kit.events import make_event
from kit.made_log import MadeLog

pytestmark = pytest.mark.integration


@pytest.fixture
def log(
    kafka_bootstrap: str, fresh_database: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MadeLog]:
    made = MadeLog(kafka_bootstrap, fresh_database)
    monkeypatch.setenv("AUDITLOG_KAFKA", kafka_bootstrap)
    monkeypatch.setenv("AUDITLOG_CLICKHOUSE_URL", fresh_database)
    monkeypatch.setenv("AUDITLOG_TOPIC", made.topic)
    made.publish(*(make_event() for _ in range(10)))
    yield made
    made.close()


def test_a_sound_log(log: MadeLog, run: Run) -> None:
    log.store(0, 9)
    done = run("check")
    assert (done.code, done.out) == (0, "ok: 1 range of offsets add up: 10 stored, 0 dead-lettered\n")
    done = run("repair")
    assert (done.code, done.out) == (0, "nothing to mend\n")


def test_a_broken_log_is_shown_planned_and_mended(log: MadeLog, run: Run) -> None:
    log.store(0, 9, missing=[4, 5])
    log.copy("kafka_offset = 2")
    done = run("check")
    assert done.code == 1
    assert "2 errors in 1 range of offsets: 10 stored, 0 dead-lettered" in done.out
    assert "8 offsets are stored, the ledger says 10" in done.out
    assert "`auditlog repair` says what can be mended" in done.err
    found = [json.loads(line) for line in run("check", "--json").out.splitlines()]
    assert {line["finding"]["kind"] for line in found[:-1]} == {"missing_rows", "stored_twice"}
    assert found[-1]["ok"] is False
    assert found[-1]["errors"] == 2

    done = run("repair")
    assert done.code == 3
    assert "nothing was changed; run `auditlog repair --yes`" in done.err
    steps = [json.loads(line)["step"] for line in run("repair", "--json").out.splitlines()]
    assert [(step["action"], step["count"], step["offsets"]) for step in steps] == [
        ("remove_copies", 1, []),
        ("store", 2, [4, 5]),
    ]
    assert len(log.stored()) == 9

    done = run("repair", "--yes")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "2 rows stored, 1 surplus rows removed, 0 dead letters written",
        "ok: 1 range of offsets add up: 10 stored, 0 dead-lettered",
    ]
    assert log.stored() == list(range(10))
    [(removed_by,)] = log.connection.query_rows("SELECT removed_by FROM audit_removals FINAL")
    assert "@" in removed_by


def test_what_cannot_be_mended_is_explained(log: MadeLog, run: Run) -> None:
    log.store(0, 3)
    log.store(6, 9)
    done = run("repair")
    assert done.code == 1
    assert "'gap in the ledger'" in done.out
    done = run("repair", "--yes", "--json")
    assert done.code == 1
    assert json.loads(done.out.splitlines()[-1]) == {
        "ok": False,
        "stored": 0,
        "dead_lettered": 0,
        "removed": 0,
    }


def test_one_partition_and_since(log: MadeLog, run: Run) -> None:
    log.store(0, 9, missing=[4])
    assert run("check", "--partition", "7").code == 0
    assert run("check", "--partition", "0", "--since", "1h").code == 1
    assert run("repair", "--partition", "7").code == 0
    assert run("check", "--since", "soon").code == 2

"""A disk that takes no more: nothing is said to be stored that is not, and nothing that was stored is lost.

A limit on the size of the server's files stands in for the full disk, since it needs no disk of its own; the
engine takes both alike. `scripts/bench full_disk` fills a real one.
"""

from __future__ import annotations

import http.client
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from auditlog_local.clickhouse.free_space import wait_for_space
from auditlog_local.clickhouse.write_guard import EXIT_CODE
from local.conftest import Start
from local.http_call import assert_gone, authorization, call, connection, value

pytestmark = pytest.mark.integration

FAILED = "SELECT sum(value) FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'"
FILE_BYTES_MAX = 64 << 10
# Text that does not compress, so that 4,000 rows take less than the limit and 8,000 take more.
ROWS = "SELECT number + {first}, randomPrintableASCII(12) FROM numbers(4000)"


def _table(url: str) -> None:
    value(url, "CREATE DATABASE kept")
    value(url, "CREATE TABLE kept.t (o UInt64, v String) ENGINE = MergeTree ORDER BY o")


def _limit_files(process: subprocess.Popen[str]) -> None:
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, FILE_BYTES_MAX))


def _unanswered(url: str, sql: str) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        call(url, sql)


def _end(process: subprocess.Popen[str]) -> str:
    assert process.wait(10) == EXIT_CODE
    assert process.stderr is not None
    return process.stderr.read()


def test_an_insert_whose_writes_fail_gets_no_answer(start: Start) -> None:
    process, url = start()
    _table(url)
    value(url, f"INSERT INTO kept.t {ROWS.format(first=0)}")
    _limit_files(process)
    _unanswered(url, "INSERT INTO kept.t SELECT number, randomPrintableASCII(100) FROM numbers(100000)")
    assert "writes to the disk failed" in _end(process)
    _, url = start()
    assert value(url, "SELECT count(), sum(o), sum(length(v)) FROM kept.t") == "4000\t7998000\t48000"


def test_a_merge_whose_writes_fail_loses_nothing(start: Start) -> None:
    process, url = start()
    _table(url)
    value(url, "SYSTEM STOP MERGES kept.t")
    for first in (0, 4000):
        value(url, f"INSERT INTO kept.t {ROWS.format(first=first)}")
    wanted = value(url, "SELECT count(), sum(cityHash64(o, v)) FROM kept.t")
    _limit_files(process)
    value(url, "SYSTEM START MERGES kept.t")
    _unanswered(url, "OPTIMIZE TABLE kept.t FINAL")
    _end(process)
    _, url = start()
    assert value(url, "SELECT count(), sum(cityHash64(o, v)) FROM kept.t") == wanted
    assert value(url, "SELECT reason FROM system.detached_parts") == "broken-on-start"
    value(url, "OPTIMIZE TABLE kept.t FINAL")
    assert value(url, "SELECT count(), sum(cityHash64(o, v)) FROM kept.t") == wanted
    assert value(url, "SELECT count() FROM system.parts WHERE database = 'kept' AND active") == "1"


def test_a_merge_in_the_background_is_noticed_without_a_statement(start: Start) -> None:
    process, url = start()
    _table(url)
    value(url, "SYSTEM STOP MERGES kept.t")
    for first in (0, 4000, 8000, 12000, 16000, 20000):
        value(url, f"INSERT INTO kept.t {ROWS.format(first=first)}")
    wanted = value(url, "SELECT count(), sum(cityHash64(o, v)) FROM kept.t")
    _limit_files(process)
    value(url, "SYSTEM START MERGES kept.t")
    _end(process)
    _, url = start()
    assert value(url, "SELECT count(), sum(cityHash64(o, v)) FROM kept.t") == wanted


def test_a_damaged_projection_is_made_again(start: Start, tmp_path: Path) -> None:
    process, url = start()
    _table(url)
    value(url, "ALTER TABLE kept.t ADD PROJECTION `by ``v` (SELECT o, v ORDER BY v)")
    value(url, f"INSERT INTO kept.t {ROWS.format(first=0)}")
    process.kill()
    process.wait()
    [data] = tmp_path.glob("*/data/store/*/*/all_1_1_0/*.proj/data.bin")
    os.truncate(data, 100)
    _, url = start()
    state = "SELECT is_broken, rows FROM system.projection_parts WHERE table = 't' AND active"
    deadline = time.monotonic() + 20
    while value(url, state) != "0\t4000":
        assert time.monotonic() < deadline, value(url, state)
        time.sleep(0.1)
    through_it = "SELECT count(), sum(o) FROM kept.t WHERE v >= '' SETTINGS force_optimize_projection = 1"
    assert value(url, through_it) == "4000\t7998000"


def test_a_client_that_goes_away_is_no_failed_write(start: Start) -> None:
    process, url = start()
    for read in (0, 4 << 20):
        link = connection(url)
        link.request("POST", "/", "SELECT number AS gone FROM numbers(100000000000)", authorization(url))
        response = link.getresponse()
        assert len(response.read(read)) == read
        response.close()
        link.close()
    assert_gone(url, "gone")
    assert value(url, FAILED) == "0"
    assert process.poll() is None


def test_nothing_is_begun_that_would_use_up_what_is_kept_free(start: Start) -> None:
    process, url = start()
    _table(url)
    process.terminate()
    process.wait(10)
    process, url = start("--keep-free-bytes", str(1 << 60))
    refused = call(url, f"INSERT INTO kept.t {ROWS.format(first=0)}")
    assert (refused.code, value(url, "SELECT count() FROM kept.t")) == (243, "0")
    assert call(url, "ALTER TABLE kept.t DELETE WHERE o = 1").code == 243
    value(url, "DROP TABLE kept.t")
    assert process.poll() is None


def test_a_start_waits_for_space(tmp_path: Path) -> None:
    wait_for_space(tmp_path / "not" / "made" / "yet", 1)
    code = (
        "from pathlib import Path; from auditlog_local.clickhouse.free_space import wait_for_space; "
        f"wait_for_space(Path({str(tmp_path)!r}), 1 << 62)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process, process.stderr:
        said = process.stderr.readline()
        assert process.poll() is None
        process.kill()
    assert str(tmp_path) in said
    assert "waiting for 4,611,686,018,427,387,904" in said

"""The storage and consumer suites, run a second time against the servers of docker-compose.yml."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITES = ("tests/storage", "tests/consumer", "tests/local/test_clickhouse_http.py")
RUN_SECONDS_MAX = 1500


def executed(report: Path) -> int:
    """Return how many tests of a JUnit report ran, skipped ones not counted."""
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    return sum(int(suite.get("tests", 0)) - int(suite.get("skipped", 0)) for suite in suites)


@pytest.mark.containers
@pytest.mark.timeout(RUN_SECONDS_MAX + 300)
@pytest.mark.parametrize("suite", SUITES)
def test_the_suite_passes_on_real_servers(
    suite: str, kafka_in_container: str, clickhouse_in_container: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.xml"
    environment = {
        **os.environ,
        "AUDITLOG_TEST_KAFKA": kafka_in_container,
        "AUDITLOG_TEST_CLICKHOUSE_URL": clickhouse_in_container,
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not containers", f"--junitxml={report}", suite],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS_MAX,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert executed(report) > 0


def test_skipped_tests_do_not_count_as_run(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite name="pytest" tests="3" skipped="3"/></testsuites>')
    assert executed(report) == 0
    report.write_text('<testsuites><testsuite name="pytest" tests="3" skipped="1"/></testsuites>')
    assert executed(report) == 2

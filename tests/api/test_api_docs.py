"""What docs/api.md shows works as it is shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from api.api_routes import PAGES, addresses
from auditlog_api.app import create_app
from auditlog_api.problem import TYPE_PREFIX
from auditlog_storage.event_csv import CSV_COLUMNS
from kit.served_api import VIEWER_KEYS, ServedApi
from storage.event_log import Log

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/api.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


CURLS = [block for block in blocks("sh") if "curl" in block]


@pytest.fixture(scope="module")
def environment(api: ServedApi, log: Log) -> dict[str, str]:
    log.store(*[log.event(occurred_at=1_772_366_400_000_000 + number) for number in range(1_100)])
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return kept | {"API": api.url, "TOKEN": api.token("acc_1", "admin")}


@pytest.mark.parametrize("script", CURLS, ids=lambda script: str(CURLS.index(script)))
def test_every_request_shown_is_answered(environment: dict[str, str], script: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{") or "/tail" in script
    if "application/jsonl" in script:
        ids = [json.loads(line)["event_id"] for line in done.stdout.splitlines()]
        assert len(ids) == len(set(ids)) == 1_100


def test_a_hosts_backend_makes_a_viewer_token_in_ten_lines(
    api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    [example] = blocks("python")
    function = example[example.index("def ") :].strip().splitlines()
    assert len(function) <= 10
    monkeypatch.setenv("VIEWER_KEY", f"old:{VIEWER_KEYS['old']}")
    names: dict[str, Any] = {}
    exec(compile(example, "docs/api.md", "exec"), names)
    whole, item = names["viewer_token"]("acc_1"), names["viewer_token"]("acc_1", "license/lic_1")
    assert api.get("/v1/accounts/acc_1/events", whole).status_code == 200
    assert api.get("/v1/accounts/acc_1/items/license/lic_1/events", item).status_code == 200
    assert api.get("/v1/accounts/acc_1/events", item).status_code == 404


def test_every_address_is_listed(api: ServedApi) -> None:
    table = PAGE.split("## Addresses")[1].split("## Tokens")[0]
    listed = set(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", table, re.MULTILINE))
    app = create_app(api.backend.settings, api.connection, api.backend.catalog)
    found = {
        (each.method, each.template.removeprefix("/v1/accounts/{account}"))
        for each in addresses(app)
        if not each.template.startswith(PAGES)
    }
    assert listed == found - {("GET", "/")}


def test_the_columns_of_csv_are_those() -> None:
    assert ",".join(CSV_COLUMNS) in PAGE


def test_every_problem_is_listed() -> None:
    names = set()
    for path in (ROOT / "api").rglob("*.py"):
        text = path.read_text("utf-8")
        names |= set(re.findall(r'Problem\(\s*\d+, "([a-z-]+)"', text))
        names |= set(re.findall(r'(?:no_access|BadViewerToken)\("([a-z-]+)"', text))
    table = PAGE.split("## Errors")[1].split("## From a browser")[0]
    assert len(names) >= 18
    assert {name for name in names if f"`{name}`" not in table} == set()
    assert f"`{TYPE_PREFIX}`" in table


def test_the_problem_shown_is_the_one_that_is_answered(api: ServedApi) -> None:
    shown = json.loads(blocks("json")[-1])
    assert api.get("/v1/accounts/acc_1/events?colour=red", api.token()).json() == shown


def test_every_setting_is_in_operations(api: ServedApi) -> None:
    table = (ROOT / "docs/operations.md").read_text("utf-8").split("## Running the API")[1]
    table = table.split("## The local stack")[0]
    names = set(re.findall(r"`([A-Z_]+)`", table.split("|---|---|---|")[1]))
    assert names == {name.upper() for name in type(api.backend.settings).model_fields}


def test_the_alerts_are_about_metrics_that_exist(api: ServedApi) -> None:
    monitoring = (ROOT / "docs/monitoring.md").read_text("utf-8")
    [rules] = [
        block for block in re.findall(r"```yaml\n(.*?)```", monitoring, re.S) if "auditlog_api" in block
    ]
    names = {name.removesuffix("_bucket") for name in re.findall(r"auditlog_api_\w+", rules)}
    assert len(names) >= 3
    assert names <= set(re.findall(r"^# TYPE (\w+) ", api.get("/metrics").text, re.M))

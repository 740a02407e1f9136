"""The OpenAPI document: it is one, it is complete, and what it promises is kept under fire."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.api_routes import PAGES, addresses
from auditlog_api.app import create_app
from exports.lab import Lab
from kit.served_api import ServedApi, serving
from storage.event_log import Log

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent


@pytest.fixture
def whole_api(database_url: str, log: Log, tmp_path: Path) -> Iterator[ServedApi]:
    """An API with a place for exports, without which it answers 501 to what is about them."""
    with serving(database_url, exports=Lab(log, tmp_path).jobs) as served:
        yield served


def test_schemathesis_finds_no_server_error(whole_api: ServedApi, log: Log) -> None:
    log.store(*[log.event() for _ in range(5)])
    config = str(HERE / "schemathesis.toml")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run"]
    done = subprocess.run(
        [
            *command,
            f"{whole_api.url}/openapi.json",
            *("--header", f"Authorization: Bearer {whole_api.token('acc_1', 'admin')}"),
            # What is no search, time or address is refused, and a schema cannot say what is one.
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
            # A followed log has no end.
            *("--exclude-path-regex", "/events/tail$"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "7"),
            *("--generation-database", "none", "--request-timeout", "30", "--no-color"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Operations:" in done.stdout


def test_every_route_is_in_the_document(api: ServedApi) -> None:
    document = api.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    described = {
        f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods
    }
    app = create_app(api.backend.settings, api.connection, api.backend.catalog)
    # Where a browser goes, and the document itself, are no part of the interface for programs.
    programs = [each for each in addresses(app) if each.template not in ("/", "/openapi.json")]
    assert described == {str(each) for each in programs if not each.template.startswith(PAGES)}


def test_every_error_is_described_as_a_problem(api: ServedApi) -> None:
    document = api.get("/openapi.json").json()
    assert document["components"]["schemas"]["ProblemDocument"]["properties"].keys() >= {"type", "status"}
    for methods in document["paths"].values():
        for operation in methods.values():
            assert "422" not in operation["responses"] or "problem" in str(operation["responses"]["422"])
            errors = {code: each for code, each in operation["responses"].items() if code[0] not in "23"}
            assert "default" in errors
            for answer in errors.values():
                assert list(answer["content"]) == ["application/problem+json"]

"""Running the command in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from auditlog_cli.main import app
from cli.ran import Ran, Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `auditlog` with these arguments, away from any stack or setting of the machine."""
    for name in ("AUDITLOG_KAFKA", "AUDITLOG_CLICKHOUSE_URL", "AUDITLOG_CATALOG", "AUDITLOG_TOPIC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUDITLOG_DATA_DIR", str(tmp_path / "no-stack-here"))

    def run_command(*arguments: str, input: str | bytes = "") -> Ran:
        result: Any = CliRunner().invoke(app, list(arguments), input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run_command

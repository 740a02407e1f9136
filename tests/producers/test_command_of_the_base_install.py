"""The base install, the SDK, puts `auditlog` on the PATH too: without the server parts it says so."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from auditlog_cli.__main__ import SERVER_LIBRARIES

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
MODULE, FUNCTION = PROJECT["scripts"]["auditlog"].split(":")

# A module that is None in sys.modules cannot be imported.
SCRIPT = f"""
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split()))
sys.argv[:2] = ["auditlog"]
from {MODULE} import {FUNCTION}
{FUNCTION}()
"""


def run(missing: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, missing, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("missing", [" ".join(SERVER_LIBRARIES), "typer", "pydantic_settings"])
def test_without_the_server_parts_it_says_what_to_install(missing: str) -> None:
    done = run(missing, "version")
    assert done.stderr == "auditlog: the command needs the server parts: pip install 'auditlog[server]'\n"
    assert (done.returncode, done.stdout) == (2, "")


def test_with_them_it_runs() -> None:
    done = run("", "version")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_libraries_are_those_of_the_extra() -> None:
    required = [Requirement(text) for text in PROJECT["optional-dependencies"]["server"]]
    # What only some Pythons need cannot tell whether the extra is there.
    names = [one.name.replace("-", "_") for one in required if one.marker is None]
    imported = {"pyjwt": "jwt"}
    assert sorted(SERVER_LIBRARIES) == sorted({imported.get(name, name) for name in names} - {"auditlog"})

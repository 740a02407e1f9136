"""`auditlog check` as an operator runs it, at the end of a bench."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

_SECONDS_MAX: Final = 600


def run_check(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run it with these variables and return its exit code and what it says, in lines of JSON."""
    return subprocess.run(
        [sys.executable, "-m", "auditlog_cli", "check", "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=_SECONDS_MAX,
        check=False,
    )

"""How a person types this command, for hints that can be copied, and who that person is."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import sys
from pathlib import Path

from auditlog_cli.options import DEFAULT_DATA_DIR


def own_name() -> str:
    """Return ``auditlog``, or the path by which it was called when it is not on the PATH."""
    called = Path(sys.argv[0])
    on_path = shutil.which("auditlog")
    if called.name != "auditlog" or (on_path and Path(on_path).samefile(called)):
        return "auditlog"
    return shlex.quote(min(os.path.relpath(called), str(called.absolute()), key=len))


def data_dir_option(data_dir: Path) -> str:
    """Return the option that a further command needs to find this data directory, with a leading space."""
    assumed = Path(os.environ.get("AUDITLOG_DATA_DIR", DEFAULT_DATA_DIR))
    if data_dir.absolute() == assumed.absolute():
        return ""
    return f" --data-dir {shlex.quote(str(data_dir))}"


def user_and_host() -> str:
    """Return who runs this and where, for the record."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # a container's user without a name
        return socket.gethostname()

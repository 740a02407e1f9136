"""`stack.json`: where a running stack answers, its processes, and which of them are kept down."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from auditlog_local.supervisor import KeptDown
from auditlog_schemas.errors import ConfigError

LOCK_NAME: Final = "stack.lock"
_STATE_NAME: Final = "stack.json"


@dataclass(frozen=True)
class RunningStack:
    """A stack that runs.

    Attributes:
        kafka: its bootstrap servers.
        clickhouse_url: URL of its database.
        pid: of the process that runs it.
        kept_down: the children that crashed again and again.
    """

    kafka: str
    clickhouse_url: str
    pid: int
    kept_down: tuple[KeptDown, ...] = ()


def find_running(data_dir: Path) -> RunningStack | None:
    """The stack that runs on this data directory now; None when there is none.

    Its servers are not asked: one of them may be down while the stack runs.
    """
    try:
        state = json.loads((data_dir / _STATE_NAME).read_text())
        kept_down = tuple(KeptDown(**one) for one in state["kept_down"])
        found = RunningStack(str(state["kafka"]), str(state["clickhouse_url"]), int(state["pid"]), kept_down)
        with (data_dir / LOCK_NAME).open("rb") as lock:
            # Whoever holds the lock is the stack; a lock that can be had means that its file was left behind.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return found
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_running(data_dir: Path, stack: RunningStack, pids: Mapping[str, int]) -> None:
    """Say that a stack runs.

    Args:
        data_dir: its data directory.
        stack: what `find_running` is to find.
        pids: name -> pid of its children that run, for people and tests.

    Raises:
        ConfigError: the data directory cannot be written.
    """
    fresh = data_dir / f"{_STATE_NAME}.new"
    try:
        fresh.write_text(json.dumps({**asdict(stack), "children": dict(pids)}, indent=1) + "\n")
        fresh.replace(data_dir / _STATE_NAME)
    except OSError as error:
        raise ConfigError(f"the data directory {data_dir} cannot be written: {error.strerror}") from error


def forget_running(data_dir: Path) -> None:
    """Say that no stack runs here any more; harmless when done twice.

    Raises:
        OSError: the file is there and cannot be removed.
    """
    (data_dir / _STATE_NAME).unlink(missing_ok=True)

"""Free TCP ports of the loopback interface."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from auditlog_schemas.errors import ConfigError

# Below what Linux gives to outgoing connections (32768 on): from there a port that a server leaves while it
# restarts can be taken meanwhile, also by its own clients, who would then be connected to themselves.
_FIRST, _LAST = 15_000, 32_767


def free_ports(count: int) -> list[int]:
    """``count`` different ports that nobody listens on now, drawn anew at each call."""
    with ExitStack() as held:
        return [_hold(held) for _ in range(count)]


def _hold(held: ExitStack) -> int:
    for port in _candidates():
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
        else:
            held.enter_context(listener)
            return int(listener.getsockname()[1])
    raise ConfigError("no TCP port of 127.0.0.1 is free")


def _candidates() -> Iterator[int]:
    """Some of ours, and at last whatever the system gives."""
    # Processes that look at the same time shall not find the same ones.
    yield from random.SystemRandom().sample(range(_FIRST, _LAST + 1), 1_000)
    yield 0


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True


def remembered_port(path: Path) -> int:
    """The port in this file when it is free, else a free one, which is written there.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.read_text().strip() if path.exists() else ""
        if known.isascii() and known.isdigit() and 0 < int(known) < 65536 and is_free(int(known)):
            return int(known)
        (port,) = free_ports(1)
        path.write_text(f"{port}\n")
    except OSError as error:
        raise ConfigError(f"{path.parent} cannot be written: {error.strerror}") from error
    return port

"""Free TCP ports of the loopback interface."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

from auditlog_schemas.errors import ConfigError


def free_ports(count: int) -> list[int]:
    """``count`` different ports that nobody listens on now."""
    with ExitStack() as held:
        found = []
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            found.append(int(listener.getsockname()[1]))
        return found


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

"""Whether anything listens at an address: a server that is down looks different from one that hangs."""

from __future__ import annotations

import socket
from typing import Final

CONNECT_SECONDS_MAX: Final = 3.0


def listens(host: str, port: int) -> bool:
    """Tell whether a TCP connection can be made."""
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS_MAX):
            return True
    except OSError:
        return False

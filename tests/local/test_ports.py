"""Ports for servers: free, and not among those that outgoing connections are given."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from auditlog_local import ports
from auditlog_local.ports import free_ports, is_free


def test_they_are_different_and_free() -> None:
    found = free_ports(30)
    assert len(set(found)) == 30
    assert all(is_free(port) for port in found)


def test_outgoing_connections_are_given_others() -> None:
    """Unless somebody changed Linux's default range, which begins at 32768."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(free_ports(30)) < max(first, 32_768)


def test_a_taken_one_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        taken = int(listener.getsockname()[1])
        monkeypatch.setattr(ports, "_candidates", lambda: iter([taken, 0]))
        [found] = free_ports(1)
    assert found not in (taken, 0)

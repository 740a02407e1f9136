"""Kafka and the engine on ports that nothing else takes while they are down.

The system gives ports of its own choice to outgoing connections, also the port of a server that is down for a
moment; a client on the same machine that tries to reach it again and again may even be connected to itself.
Then the server cannot come back. So these listen below the range that the system chooses from.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Final

from servers import Servers

from auditlog_local.child import Child
from auditlog_local.clickhouse_child import clickhouse_child
from auditlog_local.kafka import kafka_child, remembered_node
from auditlog_local.ports import is_free

_CHOSEN_BY_SYSTEM: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 10_000


class SteadyServers(Servers):
    """Servers that can be killed and started again at the same address any number of times."""

    def __init__(self) -> None:
        super().__init__()
        broker, controller, engine = steady_ports(3)
        directory = self.directory / "broker"
        directory.mkdir()
        # What remembered_node reads; it makes up the rest.
        ports = {"broker_port": broker, "controller_port": controller}
        (directory / "node.json").write_text(json.dumps(ports))
        node = remembered_node(directory)
        self.bootstrap = node.bootstrap
        self.kafka = Child(kafka_child(directory, node), self.directory)
        self._origin = f"http://default:@127.0.0.1:{engine}"
        self.clickhouse = Child(clickhouse_child(self.directory / "clickhouse", engine), self.directory)


def steady_ports(count: int) -> list[int]:
    """Return different ports that are free and never given to outgoing connections."""
    highest = int(_CHOSEN_BY_SYSTEM.read_text().split()[0])
    ports = random.sample(range(_LOWEST, highest), 50 * count)
    return [port for port in ports if is_free(port)][:count]

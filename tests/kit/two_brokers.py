"""Two Kafka brokers of one cluster; the first is its controller, too."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from auditlog_local.child import Child, ChildSpec
from auditlog_local.kafka import kafka_child, remembered_node
from auditlog_local.kafka_broker import broker_answers
from auditlog_local.ports import free_ports
from kit.servers import running


@dataclass(frozen=True)
class TwoBrokers:
    """The brokers of node ids 1 and 2, their addresses, and a client for what only administrators do."""

    children: Mapping[int, Child]
    addresses: Mapping[int, str]
    admin: AdminClient

    @property
    def kafka(self) -> str:
        """Return the bootstrap addresses."""
        return ",".join(self.addresses.values())

    def make_topic(self, name: str, replicas: list[list[int]]) -> None:
        """Make a topic, given the node ids that have each partition; the first of them leads it."""
        new = NewTopic(name, num_partitions=len(replicas), replica_assignment=replicas)
        self.admin.create_topics([new])[name].result(60)


@contextmanager
def two_brokers(directory: Path) -> Iterator[TwoBrokers]:
    """Run both while inside."""
    node = remembered_node(directory / "one")
    first = kafka_child(directory / "one", node)
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    (directory / "two").mkdir()
    settings = directory / "two" / "server.properties"
    changed = {
        "process.roles": "broker",
        "node.id": "2",
        "listeners": f"PLAINTEXT://{address}",
        "advertised.listeners": f"PLAINTEXT://{address}",
        "log.dirs": str(directory / "two" / "log"),
    }
    # Of a key that is there twice, the last one counts.
    settings.write_text(
        (directory / "one" / "server.properties").read_text()
        + "".join(f"{key}={value}\n" for key, value in changed.items())
    )
    java = first.argv[: first.argv.index("kafka.Kafka")]
    _format([*java, "kafka.tools.StorageTool", "format", "-t", node.cluster_id, "-c", str(settings)])
    second = ChildSpec(
        "kafka-two", (*java, "kafka.Kafka", str(settings)), ready=lambda: broker_answers(address)
    )
    with running(first, directory) as one, running(second, directory) as two:
        admin = AdminClient({"bootstrap.servers": f"{node.bootstrap},{address}"})
        yield TwoBrokers({1: one, 2: two}, {1: node.bootstrap, 2: address}, admin)


def _format(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

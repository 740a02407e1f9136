"""Apache Kafka 4.4.0 as a child process: one KRaft node that its clients find again after a crash."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import asdict
from pathlib import Path

from auditlog_local.child import ChildSpec
from auditlog_local.kafka_broker import KafkaNode, broker_answers, broker_command
from auditlog_local.kafka_jars import kafka_classpath
from auditlog_local.kafka_startup import kafka_java
from auditlog_local.ports import free_ports, is_free
from auditlog_schemas.errors import ConfigError


def remembered_node(data_dir: Path, port: int | None = None) -> KafkaNode:
    """The node of this data directory: its ports as before when they are free, and its cluster id always.

    Args:
        data_dir: Kafka's own data directory.
        port: the broker's port; None for the remembered or any free one.

    Raises:
        ConfigError: the directory cannot be written, or ``port`` is taken.
    """
    path = data_dir / "node.json"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        known = json.loads(path.read_text()) if path.exists() else {}
        cluster_id = known.get("cluster_id") or _new_cluster_id()
        broker_port, controller_port = known.get("broker_port"), known.get("controller_port")
        if port is not None:
            if not is_free(port):
                raise ConfigError(f"port {port} is taken: stop what listens there, or give Kafka another one")
            broker_port = port
        fresh = free_ports(2)
        node = KafkaNode(
            cluster_id,
            broker_port if broker_port and is_free(broker_port) else fresh[0],
            controller_port if controller_port and is_free(controller_port) else fresh[1],
        )
        path.write_text(json.dumps(asdict(node)))
    except (OSError, ValueError) as error:
        raise ConfigError(f"Kafka's data directory {data_dir} cannot be used: {error}") from error
    return node


def kafka_child(
    data_dir: Path, node: KafkaNode, cache_dir: Path | None = None, stop_timeout_seconds: float = 5.0
) -> ChildSpec:
    """Prepare the data directory and say how to run Kafka on it.

    Raises:
        ConfigError: the jars cannot be had, or the directory cannot be written or formatted.
    """
    java = kafka_java(kafka_classpath(cache_dir), cache_dir)
    return ChildSpec(
        name="kafka",
        argv=broker_command(data_dir, node, java),
        ready=lambda: broker_answers(node.bootstrap),
        stop_timeout_seconds=stop_timeout_seconds,
    )


def _new_cluster_id() -> str:
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text

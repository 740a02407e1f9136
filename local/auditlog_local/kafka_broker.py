"""One Kafka broker: its settings, the command that runs it, and whether it answers.

It is broker and controller in one, listens on the loopback interface only, and keeps its data between runs.
"""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auditlog_schemas.errors import ConfigError

_API_VERSIONS: Final = 18
_FORMAT_TIMEOUT_SECONDS: Final = 60


# What differs from Kafka's defaults, and why: `message.timestamp.type` because events are judged by the
# broker's clock; no automatic topics because a mistyped name must fail; a short broker session because a
# broker that was killed may register again only when its old session is over; the rest because one node is
# enough.
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "log.message.timestamp.type": "LogAppendTime",
    "auto.create.topics.enable": "false",
    "num.partitions": "8",
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",
}
_LOGGING = """status = error
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n
"""


@dataclass(frozen=True)
class KafkaNode:
    """What a data directory remembers of its Kafka."""

    cluster_id: str
    broker_port: int
    controller_port: int

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return f"127.0.0.1:{self.broker_port}"


def broker_command(data_dir: Path, node: KafkaNode, java: Sequence[str]) -> tuple[str, ...]:
    """Prepare the data directory, and return the command that runs Kafka on it.

    Args:
        data_dir: an existing directory.
        node: its ports and cluster id.
        java: the Java command with Kafka on its class path, without a main class.

    Raises:
        ConfigError: the directory cannot be written or formatted.
    """
    settings_path = data_dir / "server.properties"
    logging_path = data_dir / "log4j2.properties"
    try:
        settings_path.write_text(_properties(data_dir, node))
        logging_path.write_text(_LOGGING)
    except OSError as error:
        raise ConfigError(f"Kafka's data directory {data_dir} cannot be written: {error.strerror}") from error
    command = (*java, f"-Dlog4j2.configurationFile={logging_path.resolve()}")
    if not (data_dir / "log" / "meta.properties").exists():
        _format(command, settings_path, node)
    return (*command, "kafka.Kafka", str(settings_path))


def broker_answers(bootstrap: str, timeout_seconds: float = 2.0) -> bool:
    """Whether a Kafka broker answers an ApiVersions request (version 0) at the first of these addresses."""
    host, _, port = bootstrap.partition(",")[0].strip().rpartition(":")
    request = struct.pack(">hhih", _API_VERSIONS, 0, 1, -1)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_seconds) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            connection.settimeout(timeout_seconds)
            answer = b""
            while len(answer) < 10:
                piece = connection.recv(10 - len(answer))
                if not piece:
                    return False
                answer += piece
    except (OSError, ValueError):
        return False
    _, correlation, error = struct.unpack(">iih", answer)
    return bool(correlation == 1 and error == 0)


def _properties(data_dir: Path, node: KafkaNode) -> str:
    log_dir = str((data_dir / "log").resolve())
    if "," in log_dir:
        raise ConfigError(f"Kafka takes no directory with a comma in its path: {log_dir}")
    broker, controller = f"127.0.0.1:{node.broker_port}", f"127.0.0.1:{node.controller_port}"
    settings = {
        **_SETTINGS,
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "controller.quorum.bootstrap.servers": controller,
        "log.dirs": log_dir,
    }
    return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())


def _escaped(value: str) -> str:
    """A value for a Java properties file, which is read as Latin-1."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = struct.unpack(f">{len(units) // 2}H", units)
    return "".join(chr(code) if 32 <= code < 127 else f"\\u{code:04x}" for code in codes)


def _format(java: Sequence[str], settings_path: Path, node: KafkaNode) -> None:
    command = [*java, "kafka.tools.StorageTool", "format", "--standalone", "--ignore-formatted"]
    command += ["-t", node.cluster_id, "-c", str(settings_path)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"Kafka's storage cannot be formatted: {error}") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise ConfigError(f"Kafka's storage cannot be formatted: {said[-1] if said else 'no reason given'}")

"""Real servers in containers, of the versions docker-compose.yml names."""

import gc
import secrets
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testcontainers.community.clickhouse import ClickHouseContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

ROOT = Path(__file__).resolve().parents[2]
KAFKA_HOST_PORT = 19092


def compose_service(name: str) -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][name]
    return service


def broker_environment(host: str, port: int) -> dict[str, str]:
    """Return the compose file's broker settings, for clients that reach it at host:port."""
    environment: dict[str, str] = dict(compose_service("kafka")["environment"])
    environment["KAFKA_ADVERTISED_LISTENERS"] = f"INTERNAL://localhost:9092,HOST://{host}:{port}"
    environment["KAFKA_CONTROLLER_QUORUM_VOTERS"] = "1@localhost:9093"
    return environment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def engine_fault() -> str | None:
    """Say why no Docker engine answers, or None when one does."""
    with warnings.catch_warnings():
        # docker-py leaves the socket of a failed connection to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        fault = None
        try:
            DockerClient().client.ping()
        # Its errors have no common ancestor: no socket, no permission, a wrong DOCKER_HOST, a bad answer.
        except Exception as error:
            fault = str(error)
        gc.collect()
    return fault


@pytest.fixture(scope="session")
def docker_host() -> str:
    """The host that published ports appear on; the test is skipped when no engine answers."""
    if fault := engine_fault():
        pytest.skip(f"no Docker engine answers: {fault}")
    return DockerClient().host()


@pytest.fixture(scope="session")
def kafka_in_container(docker_host: str) -> Iterator[str]:
    """Bootstrap servers of the compose file's Kafka."""
    # The advertised address must be known before the broker starts, so the port is chosen here.
    port = free_port()
    container = DockerContainer(compose_service("kafka")["image"]).with_bind_ports(KAFKA_HOST_PORT, port)
    for name, value in broker_environment(docker_host, port).items():
        container.with_env(name, value)
    container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(120))
    with container:
        yield f"{docker_host}:{port}"


@pytest.fixture(scope="session")
def clickhouse_in_container(docker_host: str) -> Iterator[str]:
    """URL of the compose file's ClickHouse, with a user who may create users."""
    password = secrets.token_hex(16)
    container = ClickHouseContainer(
        compose_service("clickhouse")["image"], username="auditlog", password=password, dbname="auditlog"
    ).with_env("CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT", "1")
    with container:
        yield f"http://auditlog:{password}@{docker_host}:{container.get_exposed_port(8123)}/auditlog"

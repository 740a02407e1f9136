"""Fixtures that start the real servers, each once per worker and only when a test asks for it."""

from __future__ import annotations

import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from kit.registry_front import RegistryFront
from kit.registry_server import RegistryServer
from kit.servers import own_clickhouse, own_kafka

pytest_plugins = ["kit.workers"]

# Before a test module is imported, whose own settings are made from these. An example may take long: the
# first pays for imports and table builds, and on a busy machine any may.
settings.register_profile("on_a_busy_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("on_a_busy_machine")


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Undo what a command run inside the test made of structlog: its stream is closed by now."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`http://default:@127.0.0.1:port` of a ClickHouse HTTP server of this worker's."""
    with own_clickhouse(tmp_path_factory.mktemp("clickhouse")) as (_, url):
        yield url


def _run(url: str, sql: str) -> None:
    address = urllib.parse.urlsplit(url)
    origin = f"http://{address.hostname}:{address.port}/"
    request = urllib.request.Request(origin, sql.encode(), method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        answer.read()


@pytest.fixture
def fresh_database(clickhouse_url: str) -> Iterator[str]:
    """The URL of a database of this test's own, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _run(clickhouse_url, f"CREATE DATABASE {name}")
    try:
        yield f"{clickhouse_url}/{name}"
    finally:
        _run(clickhouse_url, f"DROP DATABASE IF EXISTS {name} SYNC")


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`127.0.0.1:port` of a Kafka broker of this worker's; topics are the test's own to create."""
    with own_kafka(tmp_path_factory.mktemp("kafka")) as (_, bootstrap):
        yield bootstrap


@pytest.fixture(scope="session")
def registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A schema registry of this worker's; subjects are the test's own to create."""
    server = RegistryServer(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()


@pytest.fixture
def registry_front(registry_server: RegistryServer) -> Iterator[RegistryFront]:
    """A front of this test's own before the schema registry."""
    front = RegistryFront(registry_server.url)
    yield front
    front.stop()

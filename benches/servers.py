"""Kafka and the ClickHouse engine of one bench, as children, with topics and databases of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

from auditlog_consumer.topics import Topics
from auditlog_local.child import Child
from auditlog_local.clickhouse_child import clickhouse_child
from auditlog_local.kafka import kafka_child, remembered_node
from auditlog_local.ports import free_ports
from auditlog_schemas.catalog_file import load_catalog
from auditlog_storage.connection import Connection
from auditlog_storage.migrations import migrate
from auditlog_storage.settings import StorageSettings


class Servers:
    """Use as a context manager: leaving it stops both servers and removes their data.

    Args:
        with_kafka: False for a bench that needs ClickHouse only.
    """

    def __init__(self, with_kafka: bool = True) -> None:
        # What somebody's shell says about another audit log must not reach the processes under test.
        for name in [name for name in os.environ if name.startswith("AUDITLOG_")]:
            del os.environ[name]
        self._held = tempfile.TemporaryDirectory(prefix="auditlog-bench-", ignore_cleanup_errors=True)
        self.directory = Path(self._held.name)
        (port,) = free_ports(1)
        node = remembered_node(self.directory / "kafka")
        self._origin = f"http://default:@127.0.0.1:{port}"
        self.bootstrap = node.bootstrap
        self.kafka = Child(kafka_child(self.directory / "kafka", node), self.directory)
        self.clickhouse = Child(clickhouse_child(self.directory / "clickhouse", port), self.directory)
        self._with_kafka = with_kafka

    @property
    def _children(self) -> list[Child]:
        return [self.kafka, self.clickhouse] if self._with_kafka else [self.clickhouse]

    def __enter__(self) -> Self:
        for child in self._children:
            child.start()
        for child in self._children:
            child.wait_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in reversed(self._children):
            child.stop()
        self._held.cleanup()

    def new_topic(self, partitions: int) -> tuple[str, UUID]:
        """Make a topic; return its name and Kafka's id of it."""
        name = f"bench-{uuid4().hex[:8]}"
        topics = Topics(self.bootstrap)
        topics.ensure(name, f"{name}.dead", partitions)
        return name, topics.describe(name).topic_id

    def new_database(self) -> Connection:
        """Make a database with empty tables."""
        url = f"{self._origin}/bench_{uuid4().hex[:8]}"
        connection = Connection(StorageSettings.load(url=url))
        migrate(connection, load_catalog())
        return connection

    def drop(self, connection: Connection) -> None:
        """Remove a database, so that its merges do not run beside what comes next."""
        connection.command(f"DROP DATABASE {connection.database} SYNC", in_database=False)
        connection.close()

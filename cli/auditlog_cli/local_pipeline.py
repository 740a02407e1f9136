"""The whole line on this machine: the local stack, the tables, the topics, the consumers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from auditlog_cli.addresses import CLICKHOUSE, KAFKA
from auditlog_cli.catalog_source import configured_catalog
from auditlog_cli.terminal import say

if TYPE_CHECKING:
    from auditlog_consumer.settings import ConsumerSettings
    from auditlog_local.supervisor import ChildEvent
    from auditlog_schemas.catalog import Catalog
    from auditlog_storage.connection import Connection

READY_SECONDS_MAX: Final = 30.0
METRICS_PORT: Final = "AUDITLOG_METRICS_PORT"
EXIT_SECONDS: Final = 1.0
"""What a consumer needs to leave the group and end, after it has finished what it was storing."""

Notice: TypeAlias = Callable[[str, str], None]
"""Told what became ready: its name, and where it answers or what it is."""


class LocalPipeline:
    """Starts everything in order and stops it again; use it as a context manager.

    Args:
        data_dir: of the local stack.
        partitions: of the topics, when they are made.
        consumers: how many consumer processes.
        notice: told what became ready.
        on_event: told what happens to child processes, see `auditlog_local.stack.Stack`.
        kafka: of a Kafka that runs elsewhere; None starts one.
        clickhouse_url: of a ClickHouse that runs elsewhere; None starts one.
        api: whether an API process is started too; `api_url` says where it answers.
        api_settings: environment variables for that process alone.
    """

    settings: ConsumerSettings
    connection: Connection
    api_url: str = ""

    def __init__(
        self,
        data_dir: Path,
        *,
        partitions: int,
        consumers: int,
        notice: Notice,
        on_event: Callable[[ChildEvent], None],
        kafka: str | None = None,
        clickhouse_url: str | None = None,
        api: bool = False,
        api_settings: Mapping[str, str] | None = None,
    ) -> None:
        from auditlog_local.stack import Stack

        self._partitions = partitions
        self._consumers = consumers
        self._notice = notice
        self._serves_api = api
        self._api_settings = dict(api_settings or {})
        self.stack = Stack(data_dir, kafka=kafka, clickhouse_url=clickhouse_url, on_event=on_event)

    def __enter__(self) -> Self:
        """Return when everything runs.

        Raises:
            ConfigError: a setting, a catalog file or the data directory.
            BrokerUnavailable, StorageUnavailable: what runs elsewhere does not answer.
            TerminalError: a process did not come up; the message ends with its last log lines.
        """
        from auditlog_local.stack import CHILD_STOP_SECONDS

        # First of all: a wrong catalog should not cost the start of two servers.
        catalog = configured_catalog()
        self.stack.start()
        try:
            self._prepare(catalog)
            # By itself it would take longer than the stack waits for it, and be killed in the middle.
            stop_seconds = f"{CHILD_STOP_SECONDS - EXIT_SECONDS:g}"
            environment = {**self.environment, "AUDITLOG_STOP_SECONDS_MAX": stop_seconds}
            for number in range(1, self._consumers + 1):
                name = f"consumer-{number}"
                if (port := os.environ.get(METRICS_PORT, "0")).isdecimal() and int(port):
                    # Each its own: they share an address.
                    environment[METRICS_PORT] = str(int(port) + number - 1)
                self.stack.add_child(name, (sys.executable, "-m", "auditlog_cli", "consume"), environment)
            self._notice("consumer", f"{self._consumers} running" if self._consumers != 1 else "running")
            if self._serves_api:
                self._start_api()
                self._start_export_worker()
        except BaseException:
            self.stack.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.connection.close()
        self.stack.stop()

    def run(self) -> bool:
        """Wait for Ctrl-C or SIGTERM; tell what was kept down then, and return whether nothing was."""
        self.stack.wait()
        down = self.stack.kept_down
        say("stopping …")
        for one in down:
            say(f"{one.name} was kept down: {one.reason}; its log is {one.log}")
        return not down

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables by which other processes find this pipeline."""
        return {KAFKA: self.stack.kafka, CLICKHOUSE: self.stack.clickhouse_url}

    def _start_api(self) -> None:
        from auditlog_api.settings import ApiSettings
        from auditlog_cli.local_api import API_PORT, answers, api_environment
        from auditlog_local.ports import remembered_port

        directory = self.stack.data_dir / "api"
        environment = (
            self.environment | api_environment(directory) | self._api_settings | self._export_environment()
        )
        given = {} if os.environ.get(API_PORT) else {"port": remembered_port(directory / "port")}
        settings = ApiSettings.load(**given)
        self.api_url = f"http://{settings.host}:{settings.port}"
        command = (sys.executable, "-m", "auditlog_cli", "api", "--port", str(settings.port))
        self.stack.add_child("api", command, environment, partial(answers, self.api_url))
        self._notice("api", self.api_url)

    def _start_export_worker(self) -> None:
        command = (sys.executable, "-m", "auditlog_cli", "export-worker")
        self.stack.add_child("export-worker", command, self.environment | self._export_environment())
        self._notice("export-worker", "running")

    def _export_environment(self) -> dict[str, str]:
        from auditlog_cli.export_jobs import EXPORT_URL, export_settings

        return {EXPORT_URL: export_settings(self.stack.data_dir).url}

    def _prepare(self, catalog: Catalog) -> None:
        """Make the tables and the topics."""
        from auditlog_consumer.settings import ConsumerSettings
        from auditlog_consumer.topics import Topics
        from auditlog_storage.connection import Connection
        from auditlog_storage.migrations import migrate
        from auditlog_storage.settings import StorageSettings

        self.connection = Connection(StorageSettings.load(url=self.stack.clickhouse_url))
        self._notice("clickhouse", repr(self.connection.address))
        self._notice("kafka", self.stack.kafka)
        self.connection.wait_until_ready(READY_SECONDS_MAX)
        report = migrate(self.connection, catalog)
        made = f", {len(report.applied)} applied now" if report.applied else ""
        self._notice("tables", f"version {report.version}{made}")
        self.settings = ConsumerSettings.load(kafka=self.stack.kafka)
        topics = Topics(self.settings.kafka, self.settings.kafka_config)
        topics.ensure(self.settings.topic, self.settings.dead_topic, self._partitions)
        found = topics.describe(self.settings.topic)
        self._notice("topic", f"{found.name}, {found.partitions} partitions")

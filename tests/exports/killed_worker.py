"""A worker as a process of its own, forked from one that has loaded everything already."""

from __future__ import annotations

import multiprocessing
import resource
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from auditlog_exports.settings import ExportSettings
from auditlog_exports.worker import Worker
from auditlog_storage.connection import Connection
from auditlog_storage.settings import StorageSettings


def context() -> ForkServerContext:
    # The tests themselves are not on the path of the process that is forked.
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["auditlog_exports.worker", "pyarrow.parquet"])
    return made


def start(
    forks: ForkServerContext, settings: ExportSettings, clickhouse_url: str, file_bytes_max: int = 0
) -> ForkServerProcess:
    given: dict[str, Any] = settings.model_dump()
    process = forks.Process(target=work, args=(given, clickhouse_url, file_bytes_max), daemon=True)
    process.start()
    return process


def work(settings: dict[str, Any], clickhouse_url: str, file_bytes_max: int) -> None:
    if file_bytes_max:
        # Writing further than this fails as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, resource.RLIM_INFINITY))
    with Connection(StorageSettings.load(url=clickhouse_url)) as connection:
        Worker(ExportSettings.load(**settings), connection).run()

"""A consumer in a process of its own, as `auditlog consume` runs it, to be stopped and killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from kit.pipeline import Pipeline
from kit.servers import bound


def consumer_process(pipeline: Pipeline, log: Path) -> subprocess.Popen[bytes]:
    """Start a consumer with a pipeline's settings; what it says is appended to `log`."""
    settings = pipeline.settings
    environment = {
        **os.environ,
        "AUDITLOG_KAFKA": settings.kafka,
        "AUDITLOG_CLICKHOUSE_URL": pipeline.clickhouse_url,
        "AUDITLOG_TOPIC": settings.topic,
        "AUDITLOG_GROUP": settings.group,
        "AUDITLOG_SCHEMA_REGISTRY_URL": settings.schema_registry_url or "",
        "AUDITLOG_FLUSH_INTERVAL_SECONDS": str(settings.flush_interval_seconds),
        "AUDITLOG_SESSION_TIMEOUT_SECONDS": str(settings.session_timeout_seconds),
    }
    with log.open("ab") as out:
        return subprocess.Popen(
            bound(sys.executable, "-m", "auditlog_cli", "consume"), env=environment, stdout=out, stderr=out
        )

"""The manifest: what an export holds. It is written last, so that an export with one is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from auditlog_exports.job import Job, filter_json, shape_json
from auditlog_exports.part import Part
from auditlog_storage.event_csv import CSV_COLUMNS
from auditlog_storage.moments import rfc3339

MANIFEST_VERSION: Final = 1
SCHEMA: Final = "auditlog.v1.AuditEvent"
JSON_MEMBERS: Final = (
    *("event_id", "account_id", "occurred_at", "action", "action_version", "entity", "related", "source"),
    *("actor", "context", "changes", "metadata", "received_at", "kafka"),
)
"""Members of a JSON line; `auditlog_storage.event_json` shows what they hold."""


def manifest_json(job: Job, parts: Sequence[Part]) -> dict[str, Any]:
    """Return the manifest of a job's parts: the same for every run of the job."""
    actions: Counter[str] = Counter()
    for part in parts:
        actions.update(part.actions)
    records = [part.to_json() for part in parts]
    return {
        "manifest_version": MANIFEST_VERSION,
        "schema": SCHEMA,
        "job_id": job.job_id,
        "account_id": job.account_id,
        "created_at": rfc3339(job.created_at),
        **shape_json(job.shape),
        "columns": list(JSON_MEMBERS if job.shape.format == "jsonl" else CSV_COLUMNS),
        "filter": filter_json(job.filter),
        "rows": sum(part.rows for part in parts),
        "bytes": sum(part.bytes for part in parts),
        "first": records[0]["first"],
        "last": records[-1]["last"],
        "actions": dict(sorted(actions.items())),
        "parts": records,
    }

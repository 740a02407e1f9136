"""A job as people and programs see it."""

from __future__ import annotations

from typing import Any

from auditlog_exports.job import filter_json, shape_json
from auditlog_exports.jobs import Status
from auditlog_storage.moments import rfc3339


def status_json(status: Status) -> dict[str, Any]:
    """Return a job and how it stands as JSON-like data."""
    job, progress, ending = status.job, status.progress, status.ending
    finished = ending if ending is not None and ending.state == "finished" else None
    expected = finished.rows if finished else progress.rows_expected
    return {
        "job_id": job.job_id,
        "account_id": job.account_id,
        "state": status.state,
        "created_at": rfc3339(job.created_at),
        "created_by": job.created_by,
        **shape_json(job.shape),
        "filter": filter_json(job.filter),
        "rows_done": finished.rows if finished else progress.rows_done,
        "rows_expected": expected,
        "bytes_done": finished.bytes if finished else progress.bytes_done,
        "parts_done": finished.parts if finished else progress.parts_done,
        "rows_per_second": progress.rows_per_second,
        "eta_seconds": None if ending else progress.eta_seconds,
        "waiting": "" if ending else progress.waiting,
        "error": ending.error if ending else "",
        "ended_at": rfc3339(ending.ended_at) if ending else None,
        "expires_at": rfc3339(ending.expires_at) if ending else None,
    }

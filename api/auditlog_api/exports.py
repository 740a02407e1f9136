"""What the routes of exports share, those for programs and those for people."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from auditlog_api.access import OfAccount, Reader, acting, asked_from
from auditlog_api.backend import Backend
from auditlog_api.own_events import ExportAction
from auditlog_api.problem import Problem
from auditlog_exports.errors import Conflict, TooManyExports
from auditlog_exports.job import Job, Shape
from auditlog_exports.jobs import Jobs, Status
from auditlog_storage.filters import EventFilter

T = TypeVar("T")


async def may_export(reader: OfAccount) -> Reader:
    """Return who asks, when the token is of scope export."""
    reader.require("export")
    return reader


Exporter = Annotated[Reader, Depends(may_export)]


async def with_jobs(backend: Backend, reader: Reader, work: Callable[[Jobs], T]) -> T:
    """Run something with the jobs, in a thread, when it is the turn of the reader's account.

    Raises:
        Problem: 501, there are no exports here; 409, the job is not in a state for this; 429, too many.
    """
    jobs = backend.exports
    if jobs is None:
        raise Problem(501, "not-configured", "there are no exports here: set AUDITLOG_EXPORT_URL")
    try:
        return await backend.queries.run(reader.asker, partial(work, jobs))
    except Conflict as error:
        raise Problem(409, "conflict", str(error)) from None
    except TooManyExports as error:
        raise Problem(429, "too-many-exports", str(error), {"Retry-After": "60"}) from None


async def create(
    request: Request, reader: Reader, backend: Backend, filter: EventFilter, shape: Shape, key: str | None
) -> Status:
    """Make a job, record that in the account's log, and return how it stands; see `Jobs.create`."""
    account = reader.account_id

    def make(jobs: Jobs) -> tuple[Status, bool]:
        job, is_new = jobs.create(account, filter, shape, reader.token_id, key)
        return jobs.status(account, job.job_id), is_new

    status, is_new = await with_jobs(backend, reader, make)
    if is_new:
        record(request, reader, backend, "export_created", status.job)
    return status


async def cancel(request: Request, reader: Reader, backend: Backend, job_id: str) -> Status:
    """Cancel a job, record that, and return how it stands; see `Jobs.cancel`."""
    status = await with_jobs(backend, reader, lambda jobs: jobs.cancel(reader.account_id, job_id))
    record(request, reader, backend, "export_cancelled", status.job)
    return status


async def delete(request: Request, reader: Reader, backend: Backend, job_id: str) -> None:
    """Delete a job that has ended, and record that; see `Jobs.delete`."""

    def work(jobs: Jobs) -> Job:
        job = jobs.status(reader.account_id, job_id).job
        jobs.delete(reader.account_id, job_id)
        return job

    record(request, reader, backend, "export_deleted", await with_jobs(backend, reader, work))


def record(request: Request, reader: Reader, backend: Backend, action: ExportAction, job: Job) -> None:
    """Record in the account's own log what was done with an export."""
    backend.own_events.export(action, job, acting(reader), asked_from(request))

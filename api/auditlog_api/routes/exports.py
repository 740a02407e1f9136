"""Exports over HTTP: made, watched, cancelled, downloaded and deleted with a token of scope export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse

from auditlog_api.access import OfAccount, Reader, acting, asked_from
from auditlog_api.backend import Backend, TheBackend
from auditlog_api.models import REFUSED, answers
from auditlog_api.models_exports import (
    ExportAnswer,
    ExportLinksAnswer,
    ExportPartsAnswer,
    ExportsAnswer,
)
from auditlog_api.own_events import ExportAction
from auditlog_api.parameters import NO_PARAMETERS, Filters, filter_of
from auditlog_api.problem import Problem
from auditlog_exports import download
from auditlog_exports.errors import Conflict, TooManyExports
from auditlog_exports.job import Job, Shape
from auditlog_exports.jobs import PARTS_LISTED_MAX, Jobs
from auditlog_exports.part import Part
from auditlog_exports.places import Place
from auditlog_exports.status_json import status_json

T = TypeVar("T")

router: Final = APIRouter(tags=["exports"])


class NewExport(Filters):
    """Which events, and in which form."""

    format: Literal["csv", "jsonl", "parquet"] = "csv"
    compression: Literal["none", "gzip", "zstd"] = "none"
    raw_csv: Annotated[bool, Field(description="leave CSV cells that look like formulas")] = False


class PartsQuery(BaseModel):
    """Parts of an export."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[int, Field(ge=0, le=10_000_000, description="only parts behind this one")] = 0
    limit: Annotated[int, Field(ge=1, le=PARTS_LISTED_MAX, description="at most so many")] = 100


async def may_export(reader: OfAccount) -> Reader:
    """Return who asks, when the token is of scope export."""
    reader.require("export")
    return reader


Exports = Annotated[Reader, Depends(may_export)]
JobId = Annotated[str, Path(max_length=40, description="as the list shows it")]


@router.post(
    "/v1/accounts/{account}/exports",
    status_code=202,
    dependencies=NO_PARAMETERS,
    responses=answers(ExportAnswer, *REFUSED, 403, 409, 413, 429, 501, status=202),
)
async def create_export(
    request: Request,
    reader: Exports,
    backend: TheBackend,
    wanted: NewExport,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    """Begin an export of what is stored by now; a worker makes the files."""
    filter = filter_of(request, reader, wanted)
    shape = Shape(wanted.format, wanted.compression, wanted.raw_csv)

    def create(jobs: Jobs) -> tuple[Job, bool]:
        return jobs.create(reader.account_id, filter, shape, reader.token_id, idempotency_key)

    job, is_new = await _with_jobs(backend, reader.account_id, create)
    if is_new:
        _record(request, reader, backend, "export_created", job)
    status = await _with_jobs(
        backend, reader.account_id, lambda jobs: jobs.status(reader.account_id, job.job_id)
    )
    where = f"/v1/accounts/{quote(reader.account_id, safe='')}/exports/{job.job_id}"
    return _json(status_json(status), 202, {"Location": where, "Retry-After": "1"})


@router.get(
    "/v1/accounts/{account}/exports",
    dependencies=NO_PARAMETERS,
    responses=answers(ExportsAnswer, *REFUSED, 403, 501),
)
async def list_exports(reader: Exports, backend: TheBackend) -> Response:
    """List the account's exports, the newest first."""
    found = await _with_jobs(backend, reader.account_id, lambda jobs: jobs.of_account(reader.account_id))
    return _json({"exports": [status_json(status) for status in found]})


@router.get(
    "/v1/accounts/{account}/exports/{job}",
    dependencies=NO_PARAMETERS,
    responses=answers(ExportAnswer, *REFUSED, 403, 501),
)
async def show_export(reader: Exports, backend: TheBackend, job: JobId) -> Response:
    """Show how an export stands."""
    return _json(
        status_json(
            await _with_jobs(backend, reader.account_id, lambda jobs: jobs.status(reader.account_id, job))
        )
    )


@router.post(
    "/v1/accounts/{account}/exports/{job}/cancel",
    dependencies=NO_PARAMETERS,
    responses=answers(ExportAnswer, *REFUSED, 403, 409, 501),
)
async def cancel_export(request: Request, reader: Exports, backend: TheBackend, job: JobId) -> Response:
    """Cancel an export that has not ended; nothing of it is left that looks finished."""
    status = await _with_jobs(backend, reader.account_id, lambda jobs: jobs.cancel(reader.account_id, job))
    _record(request, reader, backend, "export_cancelled", status.job)
    return _json(status_json(status))


@router.delete(
    "/v1/accounts/{account}/exports/{job}",
    status_code=204,
    dependencies=NO_PARAMETERS,
    responses=answers(None, *REFUSED, 403, 409, 501, status=204),
)
async def delete_export(request: Request, reader: Exports, backend: TheBackend, job: JobId) -> Response:
    """Delete an export that has ended, with its files."""
    status = await _with_jobs(backend, reader.account_id, lambda jobs: jobs.status(reader.account_id, job))
    await _with_jobs(backend, reader.account_id, lambda jobs: jobs.delete(reader.account_id, job))
    _record(request, reader, backend, "export_deleted", status.job)
    return Response(status_code=204)


@router.get(
    "/v1/accounts/{account}/exports/{job}/parts",
    responses=answers(ExportPartsAnswer, *REFUSED, 403, 501),
)
async def list_parts(
    reader: Exports,
    backend: TheBackend,
    job: JobId,
    query: Annotated[PartsQuery, Query()],
) -> Response:
    """List the finished parts of an export, also while it goes on."""
    found = await _with_jobs(
        backend, reader.account_id, lambda jobs: jobs.parts(reader.account_id, job, query.after, query.limit)
    )
    return _json({"parts": [part.to_json() for part in found]})


@router.get(
    "/v1/accounts/{account}/exports/{job}/parts/{part}",
    dependencies=NO_PARAMETERS,
    responses=answers(None, *REFUSED, 403, 409, 501),
)
async def download_part(
    request: Request,
    reader: Exports,
    backend: TheBackend,
    job: JobId,
    part: Annotated[int, Path(ge=1, le=10_000_000)],
) -> Response:
    """Download one part of a finished export."""

    def find(jobs: Jobs) -> tuple[Job, Part, Iterator[bytes]]:
        made, found = jobs.finished(reader.account_id, job), jobs.part(reader.account_id, job, part)
        return made, found, download.part_bytes(jobs, made, found)

    made, found, pieces = await _with_jobs(backend, reader.account_id, find)
    _record(request, reader, backend, "export_downloaded", made)
    return _file(pieces, made, download.file_name(made, found), found.bytes)


@router.get(
    "/v1/accounts/{account}/exports/{job}/download",
    dependencies=NO_PARAMETERS,
    responses=answers(None, *REFUSED, 403, 409, 501),
)
async def download_export(request: Request, reader: Exports, backend: TheBackend, job: JobId) -> Response:
    """Download all events of a finished export as one file."""

    def find(jobs: Jobs) -> tuple[Job, int | None, Iterator[bytes]]:
        made = jobs.finished(reader.account_id, job)
        return made, download.one_file_size(jobs, made), download.one_file(jobs, made)

    made, size, pieces = await _with_jobs(backend, reader.account_id, find)
    _record(request, reader, backend, "export_downloaded", made)
    return _file(pieces, made, download.file_name(made), size)


@router.get(
    "/v1/accounts/{account}/exports/{job}/manifest",
    dependencies=NO_PARAMETERS,
    responses=answers(None, *REFUSED, 403, 409, 501),
)
async def show_manifest(reader: Exports, backend: TheBackend, job: JobId) -> Response:
    """Show the manifest of a finished export."""
    return _json(
        await _with_jobs(backend, reader.account_id, lambda jobs: jobs.manifest(reader.account_id, job))
    )


@router.post(
    "/v1/accounts/{account}/exports/{job}/links",
    dependencies=NO_PARAMETERS,
    responses=answers(ExportLinksAnswer, *REFUSED, 403, 409, 501),
)
async def make_links(request: Request, reader: Exports, backend: TheBackend, job: JobId) -> Response:
    """Make short-lived links to the first 1,000 parts, which need no token; only where a cloud holds them."""

    def make(jobs: Jobs) -> tuple[Job, list[dict[str, Any]]]:
        made = jobs.finished(reader.account_id, job)
        if not jobs.store.signs:
            raise Problem(501, "no-links", "exports are on a file system here: download through the API")
        place, seconds = Place(made.account_id, made.job_id), jobs.settings.link_seconds_max
        parts = jobs.parts(reader.account_id, job, 0, PARTS_LISTED_MAX)
        return made, [
            {"part": part.number, "file": part.file, "url": jobs.store.link(place / part.file, seconds)}
            for part in parts
        ]

    made, links = await _with_jobs(backend, reader.account_id, make)
    _record(request, reader, backend, "export_downloaded", made)
    return _json({"links": links})


async def _with_jobs(backend: Backend, account_id: str, work: Callable[[Jobs], T]) -> T:
    """Run something with the jobs, in a thread, when it is the turn of the account.

    Raises:
        Problem: 501, there are no exports here; 409, the job is not in a state for this; 429, too many.
    """
    jobs = backend.exports
    if jobs is None:
        raise Problem(501, "not-configured", "there are no exports here: set AUDITLOG_EXPORT_URL")
    try:
        found: T = await backend.queries.run(account_id, partial(work, jobs))
    except Conflict as error:
        raise Problem(409, "conflict", str(error)) from None
    except TooManyExports as error:
        raise Problem(429, "too-many-exports", str(error), {"Retry-After": "60"}) from None
    return found


def _record(request: Request, reader: Reader, backend: Backend, action: ExportAction, job: Job) -> None:
    backend.own_events.export(action, job, acting(reader), asked_from(request))


def _file(pieces: Iterator[bytes], job: Job, name: str, size: int | None) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if size is not None:
        headers["Content-Length"] = str(size)
    return StreamingResponse(pieces, headers=headers, media_type=job.shape.media_type)


def _json(value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(value), status, headers, media_type="application/json")

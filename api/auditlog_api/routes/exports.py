"""Exports over HTTP: made, watched, cancelled, downloaded and deleted with a token of scope export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse

from auditlog_api import exports
from auditlog_api.access import SignedInRoute
from auditlog_api.backend import TheBackend
from auditlog_api.exports import Exporter, record, with_jobs
from auditlog_api.models import REFUSED, answers
from auditlog_api.models_exports import (
    ExportAnswer,
    ExportLinksAnswer,
    ExportPartsAnswer,
    ExportsAnswer,
)
from auditlog_api.parameters import NO_PARAMETERS, Filters, filter_of
from auditlog_api.problem import Problem
from auditlog_exports import download
from auditlog_exports.job import Job, Shape
from auditlog_exports.jobs import PARTS_LISTED_MAX, Jobs
from auditlog_exports.part import Part
from auditlog_exports.places import Place
from auditlog_exports.status_json import status_json

router: Final = APIRouter(route_class=SignedInRoute, tags=["exports"])


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


JobId = Annotated[str, Path(max_length=40, description="as the list shows it")]


@router.post(
    "/v1/accounts/{account}/exports",
    status_code=202,
    dependencies=NO_PARAMETERS,
    responses=answers(ExportAnswer, *REFUSED, 403, 409, 413, 429, 501, status=202),
)
async def create_export(
    request: Request,
    reader: Exporter,
    backend: TheBackend,
    wanted: NewExport,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    """Begin an export of what is stored by now; a worker makes the files."""
    filter = filter_of(request, reader, wanted)
    shape = Shape(wanted.format, wanted.compression, wanted.raw_csv)
    status = await exports.create(request, reader, backend, filter, shape, idempotency_key)
    where = f"/v1/accounts/{quote(reader.account_id, safe='')}/exports/{status.job.job_id}"
    return _json(status_json(status), 202, {"Location": where, "Retry-After": "1"})


@router.get(
    "/v1/accounts/{account}/exports",
    dependencies=NO_PARAMETERS,
    responses=answers(ExportsAnswer, *REFUSED, 403, 501),
)
async def list_exports(reader: Exporter, backend: TheBackend) -> Response:
    """List the account's exports, the newest first."""
    found = await with_jobs(backend, reader, lambda jobs: jobs.of_account(reader.account_id))
    return _json({"exports": [status_json(status) for status in found]})


@router.get(
    "/v1/accounts/{account}/exports/{job}",
    dependencies=NO_PARAMETERS,
    responses=answers(ExportAnswer, *REFUSED, 403, 501),
)
async def show_export(reader: Exporter, backend: TheBackend, job: JobId) -> Response:
    """Show how an export stands."""
    return _json(
        status_json(await with_jobs(backend, reader, lambda jobs: jobs.status(reader.account_id, job)))
    )


@router.post(
    "/v1/accounts/{account}/exports/{job}/cancel",
    dependencies=NO_PARAMETERS,
    responses=answers(ExportAnswer, *REFUSED, 403, 409, 501),
)
async def cancel_export(request: Request, reader: Exporter, backend: TheBackend, job: JobId) -> Response:
    """Cancel an export that has not ended; nothing of it is left that looks finished."""
    return _json(status_json(await exports.cancel(request, reader, backend, job)))


@router.delete(
    "/v1/accounts/{account}/exports/{job}",
    status_code=204,
    dependencies=NO_PARAMETERS,
    responses=answers(None, *REFUSED, 403, 409, 501, status=204),
)
async def delete_export(request: Request, reader: Exporter, backend: TheBackend, job: JobId) -> Response:
    """Delete an export that has ended, with its files."""
    await exports.delete(request, reader, backend, job)
    return Response(status_code=204)


@router.get(
    "/v1/accounts/{account}/exports/{job}/parts",
    responses=answers(ExportPartsAnswer, *REFUSED, 403, 501),
)
async def list_parts(
    reader: Exporter,
    backend: TheBackend,
    job: JobId,
    query: Annotated[PartsQuery, Query()],
) -> Response:
    """List the finished parts of an export, also while it goes on."""
    found = await with_jobs(
        backend, reader, lambda jobs: jobs.parts(reader.account_id, job, query.after, query.limit)
    )
    return _json({"parts": [part.to_json() for part in found]})


@router.get(
    "/v1/accounts/{account}/exports/{job}/parts/{part}",
    dependencies=NO_PARAMETERS,
    responses=answers(None, *REFUSED, 403, 409, 501),
)
async def download_part(
    request: Request,
    reader: Exporter,
    backend: TheBackend,
    job: JobId,
    part: Annotated[int, Path(ge=1, le=10_000_000)],
) -> Response:
    """Download one part of a finished export."""

    def find(jobs: Jobs) -> tuple[Job, Part, Iterator[bytes]]:
        made, found = jobs.finished(reader.account_id, job), jobs.part(reader.account_id, job, part)
        return made, found, download.part_bytes(jobs, made, found)

    made, found, pieces = await with_jobs(backend, reader, find)
    record(request, reader, backend, "export_downloaded", made)
    return _file(pieces, made, download.file_name(made, found), found.bytes)


@router.get(
    "/v1/accounts/{account}/exports/{job}/download",
    dependencies=NO_PARAMETERS,
    responses=answers(None, *REFUSED, 403, 409, 501),
)
async def download_export(request: Request, reader: Exporter, backend: TheBackend, job: JobId) -> Response:
    """Download all events of a finished export as one file."""

    def find(jobs: Jobs) -> tuple[Job, int | None, Iterator[bytes]]:
        made = jobs.finished(reader.account_id, job)
        return made, download.one_file_size(jobs, made), download.one_file(jobs, made)

    made, size, pieces = await with_jobs(backend, reader, find)
    record(request, reader, backend, "export_downloaded", made)
    return _file(pieces, made, download.file_name(made), size)


@router.get(
    "/v1/accounts/{account}/exports/{job}/manifest",
    dependencies=NO_PARAMETERS,
    responses=answers(None, *REFUSED, 403, 409, 501),
)
async def show_manifest(reader: Exporter, backend: TheBackend, job: JobId) -> Response:
    """Show the manifest of a finished export."""
    return _json(await with_jobs(backend, reader, lambda jobs: jobs.manifest(reader.account_id, job)))


@router.post(
    "/v1/accounts/{account}/exports/{job}/links",
    dependencies=NO_PARAMETERS,
    responses=answers(ExportLinksAnswer, *REFUSED, 403, 409, 501),
)
async def make_links(request: Request, reader: Exporter, backend: TheBackend, job: JobId) -> Response:
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

    made, links = await with_jobs(backend, reader, make)
    record(request, reader, backend, "export_downloaded", made)
    return _json({"links": links})


def _file(pieces: Iterator[bytes], job: Job, name: str, size: int | None) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if size is not None:
        headers["Content-Length"] = str(size)
    return StreamingResponse(pieces, headers=headers, media_type=job.shape.media_type)


def _json(value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(value), status, headers, media_type="application/json")

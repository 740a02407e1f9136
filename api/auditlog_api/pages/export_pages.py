"""Exports for people: begun from a log's page with its filter, watched, downloaded, cancelled and deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, get_args

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from auditlog_api import exports
from auditlog_api.access import Reader
from auditlog_api.backend import TheBackend
from auditlog_api.exports import Exporter, with_jobs
from auditlog_api.pages.around import around, place_of
from auditlog_api.pages.rendering import page
from auditlog_api.pages.trouble import PageRoute
from auditlog_api.pages.view import exports_path, read_view
from auditlog_api.parameters import form_fields
from auditlog_api.problem import bad_parameters
from auditlog_api.viewer_tokens import item_of_key
from auditlog_exports.job import Compression, Format, Shape
from auditlog_exports.jobs import Jobs, Status
from auditlog_exports.part import Part
from auditlog_exports.status_json import status_json
from auditlog_storage.filters import EventFilter
from auditlog_storage.search import parse_search

REFRESH_SECONDS: Final = 3
_STATES: Final = {
    "queued": "Waiting for a worker",
    "running": "Running",
    "cancelling": "Being cancelled",
    "finished": "Finished",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
_FORMATS: Final = {"csv": "CSV", "jsonl": "JSON lines", "parquet": "Parquet"}
_KINDS: Final = {"finished": "kind-good", "failed": "kind-bad"}

router: Final = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ExportView:
    """An export as a page shows it.

    Attributes:
        href: of its page.
        api_path: of its routes for programs, which download files.
        what: which events, as a search; empty for all.
        item: ``type/id`` of the item that it is about, or empty.
        rows, rows_expected: events written, and in all; None before they were counted.
        left: how long it will take, in words; empty when that is unknown or over.
    """

    job_id: str
    href: str
    api_path: str
    created_at: datetime
    form: str
    what: str
    item: str
    state: str
    state_words: str
    state_kind: str
    rows: int
    rows_expected: int | None
    size: str
    parts: int
    rate: float
    left: str
    waiting: str
    error: str
    expires_at: datetime | None
    has_ended: bool


@router.post("/accounts/{account}/exports")
async def begin(request: Request, reader: Exporter, backend: TheBackend) -> Response:
    """Begin an export of what a form says, and show it."""
    fields = await form_fields(request)
    filter = EventFilter(
        item=item_of_key(fields["item"]) if fields.get("item") else None,
        search=parse_search(fields.get("q", ""), datetime.now(UTC)),
    )
    key = fields.get("key", "")[:80]
    status = await exports.create(
        request, reader, backend, filter, _shape(fields), f"page {key}" if key else None
    )
    return _to(reader, status.job.job_id)


@router.get("/accounts/{account}/exports")
async def show_all(request: Request, reader: Exporter, backend: TheBackend) -> Response:
    """Show the account's exports, the newest first."""
    found = await with_jobs(backend, reader, lambda jobs: jobs.of_account(reader.account_id))
    shown = [export_view(status) for status in found]
    return page("exports.html", **_context(request, reader), exports=shown)


@router.get("/accounts/{account}/exports/{job}")
async def show(request: Request, reader: Exporter, backend: TheBackend, job: str) -> Response:
    """Show one export and how far it is."""

    def find(jobs: Jobs) -> tuple[Status, list[Part]]:
        status = jobs.status(reader.account_id, job)
        return status, jobs.parts(reader.account_id, job) if status.state == "finished" else []

    status, parts = await with_jobs(backend, reader, find)
    context = _context(request, reader)
    return page(
        "export.html", **context, export=export_view(status), files=parts, refresh_seconds=REFRESH_SECONDS
    )


@router.post("/accounts/{account}/exports/{job}/cancel")
async def cancel(request: Request, reader: Exporter, backend: TheBackend, job: str) -> Response:
    """Cancel an export, and show it."""
    return _to(reader, (await exports.cancel(request, reader, backend, job)).job.job_id)


@router.post("/accounts/{account}/exports/{job}/delete")
async def delete(request: Request, reader: Exporter, backend: TheBackend, job: str) -> Response:
    """Delete an export, and show the others."""
    await exports.delete(request, reader, backend, job)
    return _to(reader, None)


def export_view(status: Status) -> ExportView:
    """Return a job and how it stands as a page shows it."""
    job, found = status.job, status_json(status)
    compression = "" if job.shape.compression == "none" else f", {job.shape.compression}"
    seconds = found["eta_seconds"]
    return ExportView(
        job_id=job.job_id,
        href=exports_path(job.account_id, job.job_id),
        api_path="/v1" + exports_path(job.account_id, job.job_id),
        created_at=job.created_at,
        form=_FORMATS[job.shape.format] + compression + (", raw" if job.shape.raw_csv else ""),
        what=_what(found["filter"]),
        item=job.filter.item.key if job.filter.item else "",
        state=status.state,
        state_words=_STATES[status.state],
        state_kind=_KINDS.get(status.state, ""),
        rows=found["rows_done"],
        rows_expected=found["rows_expected"],
        size=size_words(found["bytes_done"]),
        parts=found["parts_done"],
        rate=found["rows_per_second"],
        left="" if seconds is None else f"about {duration_words(seconds)} left",
        waiting=found["waiting"],
        error=found["error"],
        expires_at=status.ending.expires_at if status.ending else None,
        has_ended=status.ending is not None,
    )


def size_words(size: int) -> str:
    """Return a number of bytes with three digits at most."""
    if size < 1_000:
        return f"{size} B"
    scaled, unit = float(size), ""
    for unit in ("kB", "MB", "GB", "TB"):  # noqa: B007 - the last one is for what is left
        scaled /= 1_000
        if scaled < 999.5:
            break
    return f"{scaled:.3g} {unit}" if scaled < 999.5 else f"{scaled:,.0f} {unit}"


def duration_words(seconds: float) -> str:
    """Return a length of time in its largest unit."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    count = max(1, round(seconds))
    return f"{count} second{'' if count == 1 else 's'}"


def _context(request: Request, reader: Reader) -> dict[str, Any]:
    zone = {"zone": request.query_params.get("zone", "")}
    return around(request, reader, read_view(place_of(reader, reader.item), zone, datetime.now(UTC)))


def _shape(fields: dict[str, str]) -> Shape:
    wrong = [
        {"in": "body", "name": name, "detail": f"must be one of {', '.join(known)}"}
        for name, known in (("format", get_args(Format)), ("compression", get_args(Compression)))
        if fields.get(name, known[0]) not in known
    ]
    if wrong:
        raise bad_parameters(wrong)
    format: Any = fields.get("format", "csv")
    compression: Any = fields.get("compression", "none")
    return Shape(format, compression)


def _what(filter: dict[str, Any]) -> str:
    """Return a filter as a search, whose words it shares; those that only the API has are written like it."""
    others = [
        f"{name}={','.join(value) if isinstance(value, list) else value}"
        for name, value in filter.items()
        if name not in ("search", "search_now", "item")
    ]
    return " ".join([*others, filter.get("search", "")]).strip()


def _to(reader: Reader, job_id: str | None) -> Response:
    return RedirectResponse(exports_path(reader.account_id, job_id), 303)

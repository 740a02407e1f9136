"""Summaries over HTTP: how many events there were when, and how many have which value."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from auditlog_api.accept import chosen
from auditlog_api.access import ReadsLog
from auditlog_api.backend import TheBackend
from auditlog_api.forms import JSON
from auditlog_api.models import REFUSED, FacetAnswer, HistogramAnswer, answers
from auditlog_api.parameters import FacetQuery, HistogramQuery, filter_of
from auditlog_storage.facets import FACET_FIELDS
from auditlog_storage.moments import rfc3339

router: Final = APIRouter(tags=["summaries"])


@router.get(
    "/v1/accounts/{account}/histogram",
    responses=answers(HistogramAnswer, *REFUSED, 406, 422),
)
async def histogram(
    request: Request, reader: ReadsLog, backend: TheBackend, query: Annotated[HistogramQuery, Query()]
) -> Response:
    """Return how many events there were when, over the range that is asked for or that the account has."""
    chosen(request.headers.get("accept"), (JSON,))
    filter = filter_of(request, reader, query)
    found = await backend.read(reader, lambda log: log.histogram(reader.account_id, filter, query.bars))
    answer: dict[str, Any] = {
        "since": rfc3339(found.since) if found.since else None,
        "until": rfc3339(found.until) if found.until else None,
        "bar_seconds": found.bar_seconds,
        "total": found.total,
        "bars": [{"start": rfc3339(bar.start), "events": bar.events} for bar in found.bars],
    }
    return Response(to_json(answer), media_type=JSON)


@router.get(
    "/v1/accounts/{account}/facets/{field}",
    responses=answers(FacetAnswer, *REFUSED, 406, 422),
)
async def facet(
    request: Request,
    reader: ReadsLog,
    backend: TheBackend,
    query: Annotated[FacetQuery, Query()],
    field: Annotated[str, Path(json_schema_extra={"enum": list(FACET_FIELDS)})],
) -> Response:
    """Return the most frequent values of a field, with how many events have each."""
    chosen(request.headers.get("accept"), (JSON,))
    filter = filter_of(request, reader, query)
    found = await backend.read(reader, lambda log: log.facet(reader.account_id, filter, field, query.limit))
    answer: dict[str, Any] = {
        "field": found.field,
        "values": [{"value": each.value, "events": each.events} for each in found.values],
        "distinct": found.distinct,
        "total": found.total,
    }
    return Response(to_json(answer), media_type=JSON)

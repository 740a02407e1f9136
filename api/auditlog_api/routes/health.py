"""What an operator's machinery asks: is the process alive, can it answer, what has it counted."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic_core import to_json
from starlette.responses import Response

from auditlog_api import metrics
from auditlog_api.backend import TheBackend
from auditlog_api.models import Ready, answers
from auditlog_api.problem import Problem

router: Final = APIRouter(tags=["health"])

_NOT_READY: Final = "ClickHouse does not answer, or `auditlog migrate` has not run; its log says which"


@router.get("/livez", responses=answers(None))
async def livez() -> Response:
    """Say that the process answers. Nobody else is asked."""
    return Response("ok\n", media_type="text/plain")


@router.get("/readyz", responses=answers(Ready, 503))
async def readyz(backend: TheBackend) -> Response:
    """Say whether events can be read, up to when the log is complete, and how Kafka is."""
    state = await backend.health.state()
    if not state.ready:
        members: dict[str, Any] = state.document
        raise Problem(503, "not-ready", _NOT_READY, {"Retry-After": "5"}, **members)
    return Response(to_json(state.document), media_type="application/json")


@router.get("/metrics", responses=answers(None))
async def show_metrics() -> Response:
    """Return what this process has counted, for Prometheus."""
    return Response(generate_latest(metrics.REGISTRY), media_type=CONTENT_TYPE_LATEST)

"""The catalog over HTTP."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic_core import to_json
from starlette.responses import Response

from auditlog_api.accept import chosen
from auditlog_api.access import SignedIn
from auditlog_api.backend import TheBackend
from auditlog_api.forms import JSON
from auditlog_api.models import ActionsAnswer, answers
from auditlog_api.parameters import NO_PARAMETERS
from auditlog_schemas.catalog import Action, Catalog

router: Final = APIRouter(tags=["actions"], dependencies=NO_PARAMETERS)


@router.get("/v1/actions", responses=answers(ActionsAnswer, 400, 401, 406, 429, 503))
async def list_actions(request: Request, _reader: SignedIn, backend: TheBackend) -> Response:
    """Return the catalog: every action, with its group, sentence and needs."""
    chosen(request.headers.get("accept"), (JSON,))
    catalog = backend.catalog
    actions = [_as_json(action, catalog) for action in catalog.actions.values()]
    return Response(to_json({"catalog_version": catalog.version, "actions": actions}), media_type=JSON)


def _as_json(action: Action, catalog: Catalog) -> dict[str, Any]:
    return {
        "name": action.name,
        "group": action.group,
        "entity_type": action.entity_type,
        "entity_title": catalog.entity_types[action.entity_type].title,
        "kind": action.kind,
        "sentence": action.sentence,
        "version": action.version,
        "changes_required": action.changes_required,
        "required_metadata": action.required_metadata,
        "required_related": action.required_related,
    }

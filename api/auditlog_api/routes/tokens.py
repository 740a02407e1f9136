"""Tokens over HTTP: an account's admin makes, lists and revokes them; viewer tokens are made for browsers."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.responses import Response

from auditlog_api.access import OfAccount, Reader, SignedInRoute, acting, asked_from
from auditlog_api.backend import TheBackend
from auditlog_api.models import (
    REFUSED,
    NewTokenAnswer,
    TokenAnswer,
    TokensAnswer,
    ViewerTokenAnswer,
    answers,
)
from auditlog_api.new_token import NAME_CHARACTERS_MAX, made_token
from auditlog_api.parameters import ITEM_PATTERN, NO_PARAMETERS
from auditlog_api.problem import Problem, bad_parameters
from auditlog_api.viewer_tokens import VIEWER_SECONDS_MAX, item_of_key
from auditlog_schemas.errors import BadFilter
from auditlog_schemas.rules import CONTROL_CHARACTER
from auditlog_storage.moments import rfc3339
from auditlog_storage.tokens import token_json

router: Final = APIRouter(route_class=SignedInRoute, tags=["tokens"], dependencies=NO_PARAMETERS)


def _no_control_character(text: str) -> str:
    if CONTROL_CHARACTER.search(text):
        raise ValueError("has a control character")
    return text


class NewToken(BaseModel):
    """What a new token is to be."""

    model_config = ConfigDict(extra="forbid")

    scope: Literal["read", "export", "admin"]
    name: Annotated[str, Field(max_length=NAME_CHARACTERS_MAX), AfterValidator(_no_control_character)] = ""
    expires_in_seconds: Annotated[int | None, Field(ge=1, le=10 * 366 * 86_400)] = None


class NewViewerToken(BaseModel):
    """What a new viewer token is for."""

    model_config = ConfigDict(extra="forbid")

    item: Annotated[
        str | None,
        Field(
            max_length=600,
            description="TYPE/ID, for example license/lic_42; null is the whole log",
            json_schema_extra={"pattern": ITEM_PATTERN},
        ),
    ] = None
    seconds: Annotated[int, Field(ge=1, le=VIEWER_SECONDS_MAX)] = VIEWER_SECONDS_MAX


@router.post(
    "/v1/accounts/{account}/tokens",
    status_code=201,
    responses=answers(NewTokenAnswer, *REFUSED, 403, 413, status=201),
)
async def create_token(
    request: Request, reader: OfAccount, backend: TheBackend, wanted: NewToken
) -> Response:
    """Make a token of this account; needs one of scope admin. It is shown this once."""
    _require_admin(reader)
    text, token = made_token(
        account_id=reader.account_id,
        scope=wanted.scope,
        name=wanted.name,
        created_by=reader.token_id,
        expires_in_seconds=wanted.expires_in_seconds,
    )
    await backend.queries.run(reader.asker, partial(backend.tokens.add, token))
    # Maybe this very process was asked for it before.
    backend.known_tokens.forget(token.sha256)
    backend.own_events.token_created(token, acting(reader), asked_from(request))
    return _json(token_json(token) | {"token": text}, 201)


@router.get("/v1/accounts/{account}/tokens", responses=answers(TokensAnswer, *REFUSED, 403))
async def list_tokens(reader: OfAccount, backend: TheBackend) -> Response:
    """List the newest 1,000 tokens of this account; needs one of scope admin."""
    _require_admin(reader)
    tokens = await backend.queries.run(reader.asker, partial(backend.tokens.tokens, reader.account_id))
    return _json({"tokens": [token_json(token) for token in tokens]})


@router.delete(
    "/v1/accounts/{account}/tokens/{token_id}",
    responses=answers(TokenAnswer, *REFUSED, 403),
)
async def revoke_token(
    request: Request,
    reader: OfAccount,
    backend: TheBackend,
    token_id: Annotated[str, Path(max_length=100)],
) -> Response:
    """Revoke a token of this account; needs one of scope admin. It stays in the list."""
    _require_admin(reader)
    token, revoked_now = await backend.queries.run(
        reader.asker, partial(backend.tokens.revoke, token_id, reader.account_id, reader.token_id)
    )
    backend.known_tokens.forget(token.sha256)
    if revoked_now:
        backend.own_events.token_revoked(token, acting(reader), asked_from(request))
    return _json(token_json(token))


@router.post(
    "/v1/accounts/{account}/viewer-tokens",
    status_code=201,
    responses=answers(ViewerTokenAnswer, *REFUSED, 403, 413, 501, status=201),
)
async def create_viewer_token(reader: OfAccount, backend: TheBackend, wanted: NewViewerToken) -> Response:
    """Make a signed token for a browser: for this account, or one item of it, for ten minutes at most."""
    if reader.kind != "api":
        raise Problem(403, "scope-missing", "a viewer token makes no further ones; this needs an API token")
    if not backend.viewer_keys.signs_for(reader.account_id):
        detail = "there are no viewer tokens here for this account: see AUDITLOG_API_VIEWER_KEYS"
        raise Problem(501, "not-configured", detail)
    try:
        item = item_of_key(wanted.item) if wanted.item is not None else None
    except BadFilter as error:
        found = {"in": "body", "name": "item", "detail": str(error).removeprefix("item: ")}
        raise bad_parameters([found]) from None
    token, expires_at = backend.viewer_keys.mint(reader.account_id, item, wanted.seconds)
    return _json({"token": token, "expires_at": rfc3339(expires_at), "item": wanted.item}, 201)


def _require_admin(reader: Reader) -> None:
    reader.require("admin")


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")

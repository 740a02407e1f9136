"""Who asks: from the token of a request to the reader whose log may be read, and what it may do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.datastructures import Address
from starlette.responses import Response

from auditlog_api.edge import SLASH
from auditlog_api.known_tokens import KnownTokens
from auditlog_api.origin import from_own_page, session_cookie
from auditlog_api.own_events import OwnEvents, Read
from auditlog_api.problem import Problem, no_access, not_found
from auditlog_api.shares import Asker
from auditlog_api.token_text import PREFIX, is_token, token_sha256
from auditlog_api.viewer_tokens import BadViewerToken, ViewerKeys
from auditlog_producers import Actor, Context
from auditlog_schemas.rules import CONTROL_CHARACTER
from auditlog_storage.filters import Item
from auditlog_storage.tokens import Scope, Token

TOKEN_CHARACTERS_MAX: Final = 4_096

MAY: Final[dict[Scope, frozenset[str]]] = {
    "read": frozenset({"read"}),
    "export": frozenset({"read", "export"}),
    "admin": frozenset({"read", "export", "admin"}),
    "operator": frozenset({"read", "export", "admin", "operator"}),
}
"""What a token of each scope may do."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks.

    Attributes:
        account_id: whose log; empty for an operator who has not named an account.
        scopes: what the reader may do, see `MAY`.
        item: the one item whose events a viewer token is for; None for the whole log.
        token_id: names the token in logs and in the audit log; no secret.
        expires_at: from when on the token is refused; None never.
        kind: ``api``, a token of `audit_tokens`, or ``viewer``, a signed one.
        name: what people call the token.
        share: a viewer token's hash: it tells one from another, as the id of others does.
    """

    account_id: str
    scopes: frozenset[str]
    item: Item | None
    token_id: str
    expires_at: datetime | None
    kind: Literal["api", "viewer"] = "api"
    name: str = ""
    share: str = ""

    @property
    def asker(self) -> Asker:
        """Whose share of what there is only so much of this reader takes."""
        return Asker(self.account_id, self.share or self.token_id, self.kind == "viewer")

    def of_account(self, account_id: str) -> Reader:
        """Return the reader for this account.

        Raises:
            Problem: 404, whatever the account, unless the token is for it or an operator's.
        """
        if self.account_id == account_id:
            return self
        if "operator" in self.scopes and not CONTROL_CHARACTER.search(account_id):
            return replace(self, account_id=account_id)
        raise not_found()

    def require(self, scope: str) -> None:
        """Raise a Problem, 403, unless the reader may do this."""
        if scope not in self.scopes:
            raise Problem(403, "scope-missing", f"this needs a token that may {scope}")


class Access:
    """Finds out who asks."""

    def __init__(self, known: KnownTokens, viewer_keys: ViewerKeys) -> None:
        self._known = known
        self._viewer_keys = viewer_keys

    async def reader(self, token: str, client: Address | None) -> Reader:
        """Return the reader of a token.

        Args:
            token: its text.
            client: where it comes from: who sends many that are none has to wait.

        Raises:
            Problem: 401; its type says whether the token is malformed, unknown, expired or revoked. 429, too
                many unknown ones come from this address, or are being looked up.
            StorageUnavailable: tokens cannot be looked up now.
        """
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise no_access("token-malformed", "this is no token: it is too long")
        if not token.startswith(PREFIX):
            return self._viewer(token)
        if not is_token(token):
            detail = "this is no token: it was mistyped or cut (its checksum does not fit)"
            raise no_access("token-malformed", detail)
        found = await self._known.find(token_sha256(token), client.host if client else None)
        if found is None:
            raise no_access("token-unknown", "there is no such token here")
        if found.revoked_at is not None:
            raise no_access("token-revoked", "this token was revoked")
        if found.expires_at is not None and found.expires_at <= datetime.now(UTC):
            raise no_access("token-expired", "this token has expired")
        self._known.used(found.token_id)
        return reader_of(found)

    def _viewer(self, token: str) -> Reader:
        try:
            viewer = self._viewer_keys.read(token)
        except BadViewerToken as error:
            raise no_access(error.name, str(error)) from None
        # Without the signature, which may be written in several ways.
        share = token_sha256(token.rpartition(".")[0])
        key, ends = f"viewer/{viewer.key_id}", viewer.expires_at
        return Reader(viewer.account_id, MAY["read"], viewer.item, key, ends, "viewer", share=share)


def reader_of(token: Token) -> Reader:
    """Return the reader of a token that is good."""
    return Reader(
        token.account_id, MAY[token.scope], None, token.token_id, token.expires_at, "api", token.name
    )


def presented_token(request: Request) -> str | None:
    """Return the token that a request brings: its bearer token, or the one in a page's session cookie.

    A cookie is sent by the browser whoever made the page, so it counts for requests that change something
    only when the browser says that they come from our own pages.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    cookie = request.cookies.get(session_cookie(request))
    if cookie and request.method not in ("GET", "HEAD") and not from_own_page(request):
        return None
    return cookie or None


_bearer: Final = HTTPBearer(
    scheme_name="token", auto_error=False, description="An API token (alt_…) or a viewer token (a JWT)."
)


async def signed_in(request: Request, _shown: Annotated[Any, Security(_bearer)] = None) -> Reader:
    """Return who asks; a dependency of every route that needs a token.

    It takes a place of the account's requests, which the edge gives back when the answer has been sent.

    Raises:
        Problem: 401, there is no token or it is not good; 429, its account has too many under way.
    """
    known: Reader | None = getattr(request.state, "reader", None)
    if known is not None:
        return known
    token = presented_token(request)
    if token is None:
        raise no_access("token-missing", "send a token: Authorization: Bearer alt_…")
    backend = request.app.state.backend
    access: Access = backend.access
    reader = await access.reader(token, request.client)
    request.state.reader = reader
    backend.requests.take(reader.asker)
    request.state.over = partial(backend.requests.give_back, reader.asker)
    return reader


class SignedInRoute(APIRoute):
    """A route whose requests have a body: it is read of those only who have a good token."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, behind a look at the token."""
        handle = super().get_route_handler()

        async def signed_in_first(request: Request) -> Response:
            await signed_in(request)
            return await handle(request)

        return signed_in_first


async def of_account(account: str, request: Request, reader: Annotated[Reader, Depends(signed_in)]) -> Reader:
    """Return who asks for something of the path's account; a dependency of every route under it.

    That an operator asks, for whatever it is, is recorded in the account's own log.

    Raises:
        Problem: 401 as in `signed_in`; 404 when the token is not for this account.
    """
    found = reader.of_account(account.replace(SLASH, "/"))
    request.state.reader = found
    if "operator" in found.scopes:
        own_events: OwnEvents = request.app.state.backend.own_events
        own_events.log_read(found.account_id, _asked_for(request), acting(found), asked_from(request))
    return found


async def reads_log(reader: Annotated[Reader, Depends(of_account)]) -> Reader:
    """Return who reads the account's log; a dependency of every route that shows some of it.

    Raises:
        Problem: as in `of_account`.
    """
    reader.require("read")
    return reader


def _asked_for(request: Request) -> Read:
    route: str = request.scope["route"].path
    return "exports" if "exports" in route else "tokens" if "tokens" in route else "events"


def acting(reader: Reader) -> Actor:
    """Return the reader as the actor of an audit event."""
    return Actor(type="api_key", id=reader.token_id, name=reader.name or None)


def asked_from(request: Request) -> Context:
    """Return where a request comes from, as the context of an audit event."""
    return Context(
        ip=request.client.host if request.client else None,
        user_agent=request.headers.get("user-agent"),
        request_id=request.state.request_id,
    )


SignedIn = Annotated[Reader, Depends(signed_in)]
OfAccount = Annotated[Reader, Depends(of_account)]
ReadsLog = Annotated[Reader, Depends(reads_log)]

"""Following an account's log over HTTP."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from auditlog_api.accept import chosen
from auditlog_api.access import ReadsLog, presented_token
from auditlog_api.backend import TheBackend
from auditlog_api.forms import as_json
from auditlog_api.models import REFUSED, answers
from auditlog_api.parameters import TailQuery, filter_of
from auditlog_api.tail import EVENTS_A_LOOK_MAX, MEDIA_TYPE, Follower, TailAnswer
from auditlog_storage.sealed import TEXT_CHARACTERS_MAX
from auditlog_storage.tail import Tail, TailPosition

router: Final = APIRouter(tags=["events"])


@router.get(
    "/v1/accounts/{account}/events/tail",
    responses=answers(
        None,
        *(*REFUSED, 406),
        description="Events as they are stored: server-sent events without an end.",
        content={MEDIA_TYPE: {"schema": {"type": "string"}}},
    ),
)
async def tail_events(
    request: Request,
    reader: ReadsLog,
    backend: TheBackend,
    query: Annotated[TailQuery, Query()],
    last_event_id: Annotated[str | None, Header(max_length=TEXT_CHARACTERS_MAX)] = None,
) -> Response:
    """Follow the account's log: from now on, or from behind the event whose id is given."""
    chosen(request.headers.get("accept"), (MEDIA_TYPE,))
    filter = filter_of(request, reader, query)
    backend.tails.require_room(reader.asker)
    given = last_event_id or query.last_event_id

    async def look(after: TailPosition) -> Tail:
        limit = EVENTS_A_LOOK_MAX
        return await backend.read(
            reader, lambda _: backend.log_tail.after(reader.account_id, filter, after, limit)
        )

    token = presented_token(request)
    assert token is not None
    follower = Follower(
        asker=reader.asker,
        look=look,
        as_json=as_json(backend.catalog, query.sentences),
        check=partial(backend.access.reader, token, request.client),
    )

    def begin() -> Tail:
        position = backend.log_tail.opened(reader.account_id, given) if given else None
        return backend.log_tail.after(reader.account_id, filter, position, EVENTS_A_LOOK_MAX)

    # Before the answer begins, so that a mistake is answered as one.
    first = await backend.read(reader, lambda _: begin())
    return TailAnswer(backend.settings, backend.tails, follower, first, backend.stopping)

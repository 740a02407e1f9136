"""What the API answers, as models: they make the OpenAPI document, and answers are written directly."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from auditlog_api.problem import MEDIA_TYPE


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemError(_Model):
    """One parameter, or one part of the body, that cannot be used."""

    where: Annotated[Literal["query", "path", "header", "body"], Field(alias="in")]
    name: str
    detail: str


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(extra="allow")

    type: Annotated[str, Field(description="urn:auditlog:problem: and a name that programs may rely on")]
    title: str
    status: int
    detail: Annotated[str, Field(description="what went wrong and what to do, for people")]
    errors: list[ProblemError] | None = None
    position: Annotated[
        int | None, Field(description="where in q the mistake is, in characters from 0 on")
    ] = None
    expected: Annotated[list[str] | None, Field(description="what could stand there instead")] = None


class EventEntity(_Model):
    """An item: one license, order, customer, …"""

    type: str
    id: str
    name: str | None = None


class EventSource(_Model):
    """The process that published the event, and its own counter."""

    service: str
    instance_id: str
    sequence: int


class EventActor(_Model):
    """Who did it; name and email as they were then."""

    type: Literal["platform_user", "api_key", "customer", "system"]
    id: str
    name: str | None = None
    email: str | None = None
    impersonator_id: str | None = None


class EventContext(_Model):
    """The request it came from."""

    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None


class EventChange(_Model):
    """A changed field; before and after are JSON text, and missing where the field was absent."""

    field: str
    before: str | None = None
    after: str | None = None


class EventKafka(_Model):
    """The message that the event was stored from."""

    topic_id: UUID
    partition: int
    offset: int


class Event(_Model):
    """A stored event. Keys without a value are left out."""

    event_id: UUID
    account_id: str
    occurred_at: datetime
    action: str
    action_version: int
    entity: EventEntity
    related: list[EventEntity] = []
    source: EventSource
    actor: EventActor
    context: EventContext = EventContext()
    changes: list[EventChange] = []
    metadata: dict[str, str] = {}
    received_at: datetime
    kafka: EventKafka
    sentence: Annotated[str | None, Field(description="only when asked for with sentences=true")] = None


class EventPage(_Model):
    """A page of events, newest first."""

    events: list[Event]
    next_cursor: Annotated[str | None, Field(description="of the page of older ones; null on the last")]
    previous_cursor: Annotated[str | None, Field(description="of the page of newer ones; null on the first")]


class HistogramBar(_Model):
    """How many events happened in the time that begins at `start`."""

    start: datetime
    events: int


class HistogramAnswer(_Model):
    """Events over time. Bars follow each other without gaps, those without events included."""

    since: datetime | None
    until: datetime | None
    bar_seconds: int
    total: int
    bars: list[HistogramBar]


class FacetValue(_Model):
    """A value, and how many of the events have it."""

    value: str
    events: int


class FacetAnswer(_Model):
    """The most frequent values of a field, and how many different ones there are."""

    field: str
    values: list[FacetValue]
    distinct: int
    total: Annotated[int, Field(description="events in all")]


class ActionAnswer(_Model):
    """An action of the catalog."""

    name: str
    group: str
    entity_type: str
    entity_title: str
    kind: str
    sentence: str
    version: int
    changes_required: bool
    required_metadata: list[str]
    required_related: list[str]


class ActionsAnswer(_Model):
    """The catalog."""

    catalog_version: str
    actions: list[ActionAnswer]


class TokenAnswer(_Model):
    """A token, without the token itself."""

    token_id: str
    account_id: str
    scope: Literal["read", "export", "admin", "operator"]
    name: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str
    last_used_at: Annotated[datetime | None, Field(description="to the minute or so; null is never")]


class NewTokenAnswer(TokenAnswer):
    """A token that was just made. `token` is shown this once and stored nowhere."""

    token: str


class TokensAnswer(_Model):
    """The newest tokens of the account, revoked and expired ones included."""

    tokens: list[TokenAnswer]


class ViewerTokenAnswer(_Model):
    """A token for a browser."""

    token: str
    expires_at: datetime
    item: str | None


class ReadyClickHouse(_Model):
    """Whether ClickHouse answers."""

    ok: bool


class ReadyKafka(_Model):
    """Whether Kafka answers, and how many of its messages are not recorded yet."""

    ok: bool
    lag_offsets: int | None = None


class ReadyLog(_Model):
    """How far the log is complete."""

    complete_up_to: Annotated[datetime, Field(description="what Kafka received before is stored")]


class Ready(_Model):
    """How things are."""

    ready: bool
    clickhouse: ReadyClickHouse
    log: Annotated[ReadyLog | None, Field(description="null where that cannot be told")]
    kafka: Annotated[ReadyKafka | None, Field(description="null where this process does not know Kafka")]


def answers(
    model: type[BaseModel] | None, *refusals: int, status: int = 200, **more: Any
) -> dict[int | str, dict[str, Any]]:
    """Return what a route's OpenAPI entry says of its answers.

    Args:
        model: of the answer; None for text.
        refusals: statuses of its errors, beside those that every route may have.
        status: of the answer.
        more: further keys of the answer's entry.
    """
    answer = (
        {"model": model} if model is not None else {"content": {"text/plain": {"schema": {"type": "string"}}}}
    )
    problem = {
        "description": "",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
    found: dict[int | str, dict[str, Any]] = {status: {**answer, **more}}
    for refused in refusals:
        found[refused] = problem | {"description": HTTPStatus(refused).phrase}
    found["default"] = problem | {"description": "Any other error"}
    return found


REFUSED: Final = (400, 401, 404, 429, 503)
"""The errors of every route under an account."""

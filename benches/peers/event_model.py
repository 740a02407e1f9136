"""The event as one would write it with pydantic: types, the enum and the limits of ids."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from auditlog_consumer.account_bucket import account_bucket
from auditlog_storage.tables import EVENT_ROWS

COLUMNS = EVENT_ROWS.names

Id = Annotated[str, Field(min_length=1, max_length=256)]


class Entity(BaseModel):
    type: Id
    id: Id
    name: str | None = None


class Source(BaseModel):
    service: Id
    instance_id: Id
    sequence: int


class Actor(BaseModel):
    type: Literal["platform_user", "api_key", "customer", "system"]
    id: Id
    name: str | None = None
    email: str | None = None
    impersonator_id: str | None = None


class Context(BaseModel):
    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None


class Change(BaseModel):
    field: str
    before: str | None = None
    after: str | None = None


class Event(BaseModel):
    event_id: UUID
    account_id: Id
    occurred_at: datetime
    action: str
    action_version: int
    entity: Entity
    related: list[Entity] = Field(max_length=20)
    source: Source
    actor: Actor
    context: Context
    changes: list[Change] = Field(max_length=200)
    metadata: dict[str, str] = Field(max_length=50)


def row_of_event(event: Event, topic_id: UUID, partition: int, offset: int, received: datetime) -> list[Any]:
    """Return the row of `audit_events`, in the order of its columns."""
    entity, source, actor, context = event.entity, event.source, event.actor, event.context
    return [
        account_bucket(event.account_id),
        event.account_id,
        event.occurred_at,
        event.event_id,
        event.action,
        event.action_version,
        entity.type,
        entity.id,
        entity.name,
        [(one.type, one.id, one.name) for one in event.related],
        source.service,
        source.instance_id,
        source.sequence,
        actor.type,
        actor.id,
        actor.name,
        actor.email,
        actor.impersonator_id,
        context.ip,
        context.user_agent,
        context.request_id,
        [(one.field, one.before, one.after) for one in event.changes],
        event.metadata,
        topic_id,
        partition,
        offset,
        received,
    ]


def row_of_record(
    record: dict[str, Any], topic_id: UUID, partition: int, offset: int, received: datetime
) -> list[Any]:
    """Return the same row from what fastavro decoded, without a model in between."""
    entity, source, actor, context = (record[name] for name in ("entity", "source", "actor", "context"))
    return [
        account_bucket(record["account_id"]),
        record["account_id"],
        record["occurred_at"],
        record["event_id"],
        record["action"],
        record["action_version"],
        entity["type"],
        entity["id"],
        entity["name"],
        [(one["type"], one["id"], one["name"]) for one in record["related"]],
        source["service"],
        source["instance_id"],
        source["sequence"],
        actor["type"],
        actor["id"],
        actor["name"],
        actor["email"],
        actor["impersonator_id"],
        context["ip"],
        context["user_agent"],
        context["request_id"],
        [(one["field"], one["before"], one["after"]) for one in record["changes"]],
        record["metadata"],
        topic_id,
        partition,
        offset,
        received,
    ]

"""The event as Python code sees it: frozen pydantic models that enforce every limit when they are made."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.fitting import fitting_identifier, fitting_text
from auditlog_schemas.record import Record, to_record
from auditlog_schemas.rules import require_limits

ActorType = Literal["platform_user", "api_key", "customer", "system"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entity(_Model):
    """What was acted on, or is related to it: one license, order, customer, product, …"""

    type: str
    id: str
    name: str | None = None


class Source(_Model):
    """The SDK instance that published the event; ``sequence`` is that instance's own counter."""

    service: str
    instance_id: str
    sequence: Annotated[int, Field(strict=True, lt=1 << 63)]


class Actor(_Model):
    """Who did it. ``name`` and ``email`` are snapshots, so a deleted user keeps a name in the log."""

    type: ActorType
    id: str
    name: str | None = None
    email: str | None = None
    impersonator_id: str | None = None


class Context(_Model):
    """Where the request came from: what its sender, or a proxy on the way, says of it.

    The only part of an event that strangers write, so no text of theirs makes one fail: it is cut to its
    limit, which shows (see `auditlog_schemas.fitting`). A value of another type is refused.
    """

    ip: Annotated[str | None, BeforeValidator(fitting_text)] = None
    user_agent: Annotated[str | None, BeforeValidator(fitting_text)] = None
    request_id: Annotated[str | None, BeforeValidator(fitting_identifier)] = None


class Change(_Model):
    """One changed field. ``before`` and ``after`` are JSON text; None means the field was absent."""

    field: str
    before: str | None = None
    after: str | None = None

    @classmethod
    def of(cls, field: str, before: Any = None, after: Any = None) -> Self:
        """Build a change from Python values; None stays "absent", anything else becomes JSON text."""
        return cls(field=field, before=_json(before), after=_json(after))


class AuditEvent(_Model):
    """One audit event.

    Making one checks every limit of `auditlog_schemas.limits`, so an instance is always within them
    (its action is checked against a catalog later, by the producer and again by the consumer).

    Raises:
        InvalidEvent: a limit is broken; it names the rule and the field.
        pydantic.ValidationError: a value has the wrong type. `AuditEvent.parse` turns this one into
            InvalidEvent too.
    """

    event_id: UUID
    account_id: str
    occurred_at: AwareDatetime
    action: str
    action_version: Annotated[int, Field(strict=True, lt=1 << 31)] = 1
    entity: Entity
    related: tuple[Entity, ...] = ()
    source: Source
    actor: Actor
    context: Context = Context()
    changes: tuple[Change, ...] = ()
    metadata: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _within_limits(self) -> Self:
        require_limits(self.to_record())
        return self

    def to_record(self) -> Record:
        """Return the event as the plain record that the Avro schema describes."""
        return to_record(self)

    @classmethod
    def from_record(cls, record: Record) -> AuditEvent:
        """Build an event from a record whose limits have been checked already; checks nothing again."""
        return cls.model_construct(
            event_id=UUID(record["event_id"]),
            account_id=record["account_id"],
            occurred_at=datetime_of(record["occurred_at"]),
            action=record["action"],
            action_version=record["action_version"],
            entity=Entity.model_construct(**record["entity"]),
            related=tuple(Entity.model_construct(**item) for item in record["related"]),
            source=Source.model_construct(**record["source"]),
            actor=Actor.model_construct(**record["actor"]),
            context=Context.model_construct(**record["context"]),
            changes=tuple(Change.model_construct(**item) for item in record["changes"]),
            metadata=dict(record["metadata"]),
        )

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> AuditEvent:
        """Build an event from JSON-like data.

        Raises:
            InvalidEvent: a field is missing, unknown, of the wrong type or over its limit.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            path = ".".join(str(part) for part in first["loc"])
            raise InvalidEvent("wrong_type", path, f"{first['msg']}, got {_shown(first['input'])}") from None


def datetime_of(micros: int) -> datetime:
    """Return the UTC time `micros` microseconds after 1970-01-01."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def new_event_id() -> UUID:
    """Return a new UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then random bits."""
    millis = time.time_ns() // 1_000_000
    value = (millis << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (2 << 62) | secrets.randbits(62)
    return UUID(int=value)


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except RecursionError:
        return f"a {type(value).__name__} nested too deep"


def _json(value: Any) -> str | None:
    if value is None:
        return None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)

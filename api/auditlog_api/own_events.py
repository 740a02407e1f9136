"""Audit events of the API's own: token changes, and reads across accounts."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, Literal, TypeAlias

import structlog

from auditlog_api import metrics
from auditlog_exports.job import Job, filter_json
from auditlog_producers import (
    Actor,
    AuditError,
    AuditProducer,
    Catalog,
    Context,
    Entity,
    EventsUndelivered,
    FailedDelivery,
    TransientError,
)
from auditlog_storage.tokens import Token

SERVICE: Final = "auditlog-api"
OPERATORS_ACCOUNT: Final = "auditlog.operators"
"""Whose log holds what was done with operators' tokens themselves, which belong to no account."""

READ_AGAIN_SECONDS: Final = 300.0
"""An operator that goes on asking for one thing of an account is recorded once in so many seconds."""

METADATA_CHARACTERS: Final = 120
"""Of a filter, whose characters have four bytes at most: a value of metadata has 500."""

Read: TypeAlias = Literal["events", "exports", "tokens"]
ExportAction: TypeAlias = Literal["export_created", "export_downloaded", "export_cancelled", "export_deleted"]

READS_KNOWN_MAX: Final = 10_000

_log = structlog.get_logger("auditlog.api")


class OwnEvents:
    """Publishes them through the SDK, or nowhere when there is no Kafka; never waits for the network.

    What was done has been done by then, so an event that cannot be published raises nothing: it is counted
    (`own_events_total`) and logged with what it would have said.

    Args:
        kafka: bootstrap servers; None publishes nothing.
        topic, registry, kafka_config: as in `AuditProducer`.
        catalog: with the actions of the audit log itself.
        service: names the process in the events.
        key: returns the key that they are signed with; it is asked until it returns one, and then no more.
    """

    def __init__(
        self,
        kafka: str | None,
        catalog: Catalog,
        *,
        topic: str = "audit.events",
        registry: str | None = None,
        kafka_config: Mapping[str, str] | None = None,
        service: str = SERVICE,
        key: Callable[[], bytes] | None = None,
    ) -> None:
        self._reads: OrderedDict[tuple[str, Read, str], float] = OrderedDict()
        self._producer: AuditProducer | None = None
        if kafka is not None:
            self._producer = AuditProducer(
                kafka,
                service=service,
                topic=topic,
                catalog=catalog,
                registry=registry,
                block_seconds_max=0.0,
                on_error=_on_failed,
                kafka_config=kafka_config,
                own_key=None if key is None else cache(key),
            )

    def token_created(self, token: Token, actor: Actor, context: Context) -> None:
        """Record that somebody made a token."""
        metadata: dict[str, str] = {"scope": token.scope}
        if token.expires_at is not None:
            metadata["expires_at"] = token.expires_at.isoformat()
        self._record("audit_token_created", _account_of(token), _entity_of(token), actor, context, metadata)

    def token_revoked(self, token: Token, actor: Actor, context: Context) -> None:
        """Record that somebody revoked a token."""
        self._record("audit_token_revoked", _account_of(token), _entity_of(token), actor, context, {})

    def log_read(self, account_id: str, what: Read, actor: Actor, context: Context) -> None:
        """Record that an operator asked for something of an account; each once in `READ_AGAIN_SECONDS`."""
        key, now = (account_id, what, actor.id), time.monotonic()
        if now - self._reads.get(key, float("-inf")) < READ_AGAIN_SECONDS:
            return
        self._reads[key] = now
        self._reads.move_to_end(key)
        while len(self._reads) > READS_KNOWN_MAX:
            self._reads.popitem(last=False)
        log = Entity(type="audit_log", id=account_id)
        self._record("audit_log_read", account_id, log, actor, context, {"what": what})

    def export(self, action: ExportAction, job: Job, actor: Actor, context: Context) -> None:
        """Record what somebody did with an export."""
        metadata: dict[str, str] = {"format": job.shape.format}
        if filter_json(job.filter):
            metadata["filter"] = json.dumps(filter_json(job.filter), ensure_ascii=False)[:METADATA_CHARACTERS]
        entity = Entity(type="audit_export", id=job.job_id)
        self._record(f"audit_{action}", job.account_id, entity, actor, context, metadata)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Wait for Kafka's acknowledgements, at most so long."""
        if self._producer is None:
            return
        try:
            self._producer.close(timeout_seconds)
        except EventsUndelivered as error:
            _log.error("own_event_failed", error=str(error))

    def _record(
        self,
        action: str,
        account_id: str,
        entity: Entity,
        actor: Actor,
        context: Context,
        metadata: dict[str, str],
    ) -> None:
        if self._producer is None:
            return
        try:
            self._producer.record(
                account_id=account_id,
                action=action,
                entity=entity,
                actor=actor,
                context=context,
                metadata=metadata,
            )
            metrics.OWN_EVENTS.labels("accepted").inc()
        except AuditError as error:
            _tell(action, account_id, entity.id, actor.id, error)


def _account_of(token: Token) -> str:
    return token.account_id or OPERATORS_ACCOUNT


def _entity_of(token: Token) -> Entity:
    return Entity(type="audit_token", id=token.token_id, name=token.name or None)


def _on_failed(failed: FailedDelivery) -> None:
    event = failed.event
    _tell(event.action, event.account_id, event.entity.id, event.actor.id, failed.error)


def _tell(action: str, account: str, entity_id: str, actor_id: str, error: AuditError) -> None:
    metrics.OWN_EVENTS.labels("failed").inc()
    tell = _log.warning if isinstance(error, TransientError) else _log.error
    tell(
        "own_event_failed", action=action, account=account, entity=entity_id, actor=actor_id, error=str(error)
    )

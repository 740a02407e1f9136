"""The producer: what services publish audit events with."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from auditlog_producers import lifetime
from auditlog_producers.checked_event import checked_record, decoded, encoded
from auditlog_producers.delivery import EventsUndelivered, FailedDelivery
from auditlog_producers.handle import PublishHandle
from auditlog_producers.kafka_config import Limits, require_identifier, require_topic
from auditlog_producers.schema_id import SchemaId
from auditlog_producers.sender import Sender
from auditlog_producers.stats import ProducerStats
from auditlog_schemas.catalog import Catalog
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.errors import AuditError, InvalidEvent
from auditlog_schemas.event import Actor, AuditEvent, Change, Context, Entity, new_event_id
from auditlog_schemas.own_actions import OWN_PREFIX, signed
from auditlog_schemas.record import Record

if TYPE_CHECKING:
    from auditlog_schemas.registry import SchemaRegistry

_log = logging.getLogger(__name__)


class AuditProducer:
    """Publishes audit events to Kafka. Make one per process; any number of threads may use it.

    What is true once `record` or `publish` returned: the event is valid and in this process's buffer, and
    its sequence number is used. What is not yet: it is in Kafka. It will be, unless its handle, `on_error`,
    `stats` and `close` say otherwise; only the sudden end of the process (SIGKILL, power) loses it unsaid,
    and that shows as a hole in this producer's sequence numbers. `PublishHandle.result` waits for the proof.

    Events of one account stay in the order in which they were accepted, unless one of them fails. Each
    is in Kafka once (idempotent producer), on all in-sync replicas (acks=all).

    `publish` never waits for the network, with two bounded exceptions: a full buffer, and the schema
    registry's very first answer when a registry is configured. Both wait at most `block_seconds_max`.

    Not to be used across `os.fork()` (make it in the child), nor from a signal handler.
    """

    def __init__(
        self,
        kafka: str,
        *,
        service: str,
        topic: str = "audit.events",
        catalog: Catalog | None = None,
        registry: str | SchemaRegistry | None = None,
        instance_id: str | None = None,
        buffer_messages_max: int = 100_000,
        buffer_bytes_max: int = 64 * 1024 * 1024,
        block_seconds_max: float = 5.0,
        delivery_timeout_seconds: float = 120.0,
        on_error: Callable[[FailedDelivery], None] | None = None,
        kafka_config: Mapping[str, Any] | None = None,
        own_key: Callable[[], bytes] | None = None,
    ) -> None:
        """Start; connects in the background, so Kafka and registry may still be away.

        Args:
            kafka: bootstrap servers, ``host:port`` separated by commas.
            service: names the publishing service in `source`.
            topic: where to publish; it must exist.
            catalog: what events are checked against; the built-in one when None (`load_catalog`).
            registry: a schema registry's URL or client; messages then carry the schema's id in Confluent's
                framing. None: single-object encoding, which needs no registry.
            instance_id: names this producer in `source`; must never be used twice, because sequence numbers
                start at 1 again. Default: host name, process id and 8 random hex digits.
            buffer_messages_max: events that may wait for Kafka's acknowledgement.
            buffer_bytes_max: bytes of messages that may wait; at least 1 MiB.
            block_seconds_max: how long `publish` waits for room; 0 never waits (for asyncio).
            delivery_timeout_seconds: after this an event that Kafka has not acknowledged has failed.
            on_error: called with each failed event, in a background thread; must be quick. It may
                call `forward`, which then does not wait for room.
            kafka_config: more librdkafka settings, for example ``security.protocol``, ``sasl.*``, ``ssl.*``.
            own_key: returns the key for events of the audit log itself. Only its own processes have one.

        Raises:
            ConfigError: a parameter is wrong; the message names it.
        """
        self._service = require_identifier("service", service)
        default_id = f"{socket.gethostname()[:200]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._instance_id = require_identifier(
            "instance_id", default_id if instance_id is None else instance_id
        )
        self._catalog = load_catalog() if catalog is None else catalog
        self._on_error = on_error
        self._own_key = own_key
        self._block_seconds_max = block_seconds_max
        require_topic(topic)
        limits = Limits(buffer_messages_max, buffer_bytes_max, block_seconds_max, delivery_timeout_seconds)
        on_failure = None if on_error is None else self._on_failure
        self._sender = Sender(kafka, topic, limits, kafka_config or {}, on_failure)
        self._schema_id = None if registry is None else SchemaId(registry, topic)
        lifetime.watch(self)

    @property
    def service(self) -> str:
        """The service's name in `source`."""
        return self._service

    @property
    def instance_id(self) -> str:
        """This producer's name in `source`."""
        return self._instance_id

    @property
    def stats(self) -> ProducerStats:
        """What became of the events so far."""
        return self._sender.stats

    def record(
        self,
        *,
        account_id: str,
        action: str,
        entity: Entity,
        actor: Actor,
        related: Iterable[Entity] = (),
        changes: Iterable[Change] = (),
        metadata: Mapping[str, str] | None = None,
        context: Context | None = None,
        occurred_at: datetime | None = None,
        action_version: int = 1,
        event_id: UUID | None = None,
    ) -> PublishHandle:
        """Publish what just happened: makes the event with a new UUIDv7, the time now and this source.

        Raises:
            As `publish`.
        """
        self._sender.require_usable()
        with self._counting_invalid():
            event = AuditEvent.parse(
                {
                    "event_id": event_id or new_event_id(),
                    "account_id": account_id,
                    "occurred_at": occurred_at or datetime.now(UTC),
                    "action": action,
                    "action_version": action_version,
                    "entity": entity,
                    "related": tuple(related),
                    "source": {"service": self._service, "instance_id": self._instance_id, "sequence": 0},
                    "actor": actor,
                    "context": context or Context(),
                    "changes": tuple(changes),
                    "metadata": dict(metadata or {}),
                }
            )
        return self.publish(event)

    def publish(self, event: AuditEvent) -> PublishHandle:
        """Publish an event under this producer's own `source`, whatever stands in the event's.

        Its sequence number is the producer's next: 1, 2, 3, … without holes over all accepted events. An
        event that is refused uses no number.

        Raises:
            InvalidEvent: the event breaks a limit or a rule of the catalog; `rule`, `field`, `detail` say
                which. Nothing was sent.
            BufferFull: no room for `block_seconds_max`; Kafka is away or too slow. Nothing was sent.
            RegistryUnavailable: the registry has not yet given the schema's id. Nothing was sent.
            ConfigError: the registry refuses the schema.
            TerminalError: the producer is closed, was made before a fork, or its client failed for good.
        """
        return self._send(event, own_source=True)

    def forward(self, event: AuditEvent) -> PublishHandle:
        """Publish an event with the `source` it has: a failed event once more, or one from elsewhere.

        Does not touch this producer's counter. Checks and errors are those of `publish`.
        """
        return self._send(event, own_source=False)

    def flush(self, timeout_seconds: float = 30.0) -> int:
        """Wait until no event is in flight, at most `timeout_seconds`.

        Returns:
            How many events are still in flight: 0 when all are resolved, delivered or failed. Events that
            other threads publish meanwhile count too.
        """
        return self._sender.flush(timeout_seconds)

    def close(self, timeout_seconds: float = 30.0) -> None:
        """Flush for at most `timeout_seconds`, give up what is left, and stop. Calling it again does nothing.

        What is given up fails on its handle and in `on_error`. At the interpreter's normal exit a producer
        that is still open is closed with 10 seconds, and what it lost is logged as an error.

        Raises:
            EventsUndelivered: events failed, now or earlier, and nobody was told: there is no `on_error`,
                and their handles were not asked.
        """
        if self._schema_id is not None:
            self._schema_id.stop()
        try:
            self._sender.close(timeout_seconds)
        finally:
            # An interrupted close may be called again, here or at exit.
            if self._sender.closed:
                lifetime.unwatch(self)

    def abandon_after_fork(self) -> None:
        """Make this copy unusable; called in a forked child, where the producer's threads do not exist."""
        self._sender.abandon_after_fork()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close. An exception already under way is not replaced: undelivered events are noted on it."""
        try:
            self.close()
        except EventsUndelivered as undelivered:
            if error is None:
                raise
            _log.error("%s", undelivered)
            error.add_note(f"also: {undelivered}")

    def __repr__(self) -> str:
        return f"<AuditProducer {self._service} {self._instance_id}>"

    def _send(self, event: AuditEvent, own_source: bool) -> PublishHandle:
        self._sender.require_usable()
        with self._counting_invalid():
            record = checked_record(event, self._catalog, own=self._own_key is not None)
            key = self._own_key() if self._own_key and record["action"].startswith(OWN_PREFIX) else None
            schema_id = None if self._schema_id is None else self._schema_id.get(self._block_seconds_max)

            def message_of(sequence: int) -> bytes:
                source = self._source(sequence) if own_source else record["source"]
                sent = record | {"source": source}
                return encoded(event, sent if key is None else signed(sent, key), schema_id)

            sequence = None if own_source else event.source.sequence
            return self._sender.send(event.event_id, event.account_id, sequence, message_of)

    def _source(self, sequence: int) -> Record:
        return {"service": self._service, "instance_id": self._instance_id, "sequence": sequence}

    @contextmanager
    def _counting_invalid(self) -> Iterator[None]:
        try:
            yield
        except InvalidEvent:
            self._sender.count_invalid()
            raise

    def _on_failure(self, message: bytes, error: AuditError) -> None:
        assert self._on_error is not None
        self._on_error(FailedDelivery(decoded(message), error))

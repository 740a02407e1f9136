"""Putting a consumer together from its settings, waiting for what is away."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import structlog

from auditlog_consumer import metrics
from auditlog_consumer.acknowledged import AcknowledgedWriter
from auditlog_consumer.consumer import Consumer
from auditlog_consumer.dead_letters import DeadLetterSink
from auditlog_consumer.fetch.bootstrap import require_entry
from auditlog_consumer.group import GroupMember
from auditlog_consumer.identity import TopicIdentity
from auditlog_consumer.judge import Judge
from auditlog_consumer.partition import Epoch, EpochEnded
from auditlog_consumer.patience import persist
from auditlog_consumer.recovery import Recovery
from auditlog_consumer.runtime import Threads
from auditlog_consumer.settings import ConsumerSettings
from auditlog_consumer.store import BatchStore
from auditlog_consumer.topic_watch import TopicWatch
from auditlog_consumer.topics import TopicInfo, Topics
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.codec import WriterSchemas
from auditlog_schemas.errors import RegistryUnavailable
from auditlog_schemas.schema_file import read_schema_file
from auditlog_schemas.schema_lookups import SchemaLookups
from auditlog_storage.claims import Claims
from auditlog_storage.connection import Connection
from auditlog_storage.keys import Keys
from auditlog_storage.ledger import Ledger
from auditlog_storage.stored import StoredRows
from auditlog_storage.writer import EventWriter

if TYPE_CHECKING:
    from auditlog_schemas.registry import SchemaRegistry

_log = structlog.get_logger("auditlog.consumer")


def consume(settings: ConsumerSettings, connection: Connection, stop: threading.Event) -> None:
    """Consume until `stop` is set. While Kafka or ClickHouse are away it waits and says so.

    The topics are made if they do not exist; the tables must exist (`auditlog migrate`).

    Raises:
        ConfigError: a setting, a catalog file, a schema file or the topics' settings are wrong, or the latter
            became so; or the database has no key of own events.
        TerminalError: as in `Consumer.run`.
    """
    registry = open_registry(settings)
    judge = build_judge(settings, registry)
    runtime = Threads()
    waiting = _ends_with(stop)
    try:
        topics, topic, watch = persist(
            waiting, "asking Kafka for the topic", lambda: _ensure(settings), topic=settings.topic
        )
        ledger = Ledger(connection)
        read_key = partial(Keys(connection).read, "own_events")
        judge.own_key = persist(waiting, "asking ClickHouse for the key of own events", read_key)
        persist(waiting, "asking ClickHouse for the ledger", lambda: ledger.next_offset(topic.topic_id, 0))
    except EpochEnded:
        return
    group = GroupMember(settings)
    writer = AcknowledgedWriter(settings.kafka, settings.kafka_config)
    dead_letters = DeadLetterSink(writer, settings.dead_topic, judge.catalog.version)
    events, stored = EventWriter(connection), StoredRows(connection)
    identity = TopicIdentity(topics, topic.name, topic.topic_id, runtime.monotonic, watch.look)
    store = BatchStore(settings, group, identity, dead_letters, events, stored, ledger, runtime)
    claims = Claims(connection)
    recovery = Recovery(settings, ledger, claims, stored, events, topics, identity, group, runtime)
    lookups = SchemaLookups(judge.schemas.by_id, _tell_registry_trouble)
    consumer = Consumer(settings, topic.topic_id, group, recovery, judge, lookups, store, runtime)
    try:
        with watch.watching(stop):
            consumer.run(stop)
    finally:
        lookups.close()
        if registry is not None:
            registry.close()
        writer.close()


def build_judge(settings: ConsumerSettings, registry: SchemaRegistry | None = None) -> Judge:
    """Return the judge for these settings: catalog, writer schemas, registry.

    Args:
        settings: which files, and which registry.
        registry: that registry, for who closes it; otherwise it stays open until the process ends.

    Raises:
        ConfigError: a catalog or schema file is wrong; the message names it.
    """
    lookup = registry or open_registry(settings)
    schemas = WriterSchemas([read_schema_file(path) for path in settings.schemas], lookup)
    return Judge(schemas, load_catalog(settings.catalog))


def open_registry(settings: ConsumerSettings) -> SchemaRegistry | None:
    """Return a client of the registry that the settings name, if they name one; it is not connected yet."""
    if not settings.schema_registry_url:
        return None
    from auditlog_schemas.registry import SchemaRegistry

    return SchemaRegistry(settings.schema_registry_url)


def _tell_registry_trouble(error: RegistryUnavailable, pause_seconds: float) -> None:
    metrics.RETRIES.labels("asking the registry").inc()
    _log.warning(
        "waiting", doing="asking the registry", error=str(error), retry_in_seconds=round(pause_seconds, 1)
    )


def _ensure(settings: ConsumerSettings) -> tuple[Topics, TopicInfo, TopicWatch]:
    require_entry(settings.kafka, settings.kafka_config)
    topics = Topics(settings.kafka, settings.kafka_config)
    events, dead = topics.ensure(settings.topic, settings.dead_topic)
    watch = TopicWatch(topics, events.name, dead.name)
    watch.judge(events, dead)
    return topics, events, watch


def _ends_with(stop: threading.Event) -> Epoch:
    """Return an epoch that ends when `stop` is set, so that waiting at the start can be interrupted."""
    epoch = Epoch(threading.Event())

    def follow() -> None:
        stop.wait()
        epoch.end()

    threading.Thread(target=follow, daemon=True).start()
    return epoch

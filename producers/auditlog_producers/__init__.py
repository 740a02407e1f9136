"""The SDK that services publish with.

from auditlog_producers import Actor, AuditProducer, Change, Entity

with AuditProducer("localhost:9092", service="licensing") as audit:
    audit.record(
        account_id="acc_1",
        action="license_reset",
        entity=Entity(type="license", id="lic_1"),
        actor=Actor(type="platform_user", id="usr_7", name="Ada"),
    )
"""

from auditlog_producers.delivery import Delivered, DeliveryPending, EventsUndelivered, FailedDelivery
from auditlog_producers.handle import PublishHandle
from auditlog_producers.producer import AuditProducer
from auditlog_producers.stats import ProducerStats
from auditlog_schemas.catalog import Catalog
from auditlog_schemas.catalog_file import load_catalog
from auditlog_schemas.errors import (
    AuditError,
    BrokerUnavailable,
    BufferFull,
    ConfigError,
    InvalidEvent,
    RegistryUnavailable,
    TerminalError,
    TransientError,
)
from auditlog_schemas.event import Actor, AuditEvent, Change, Context, Entity, Source, new_event_id

__all__ = [
    "Actor",
    "AuditError",
    "AuditEvent",
    "AuditProducer",
    "BrokerUnavailable",
    "BufferFull",
    "Catalog",
    "Change",
    "ConfigError",
    "Context",
    "Delivered",
    "DeliveryPending",
    "Entity",
    "EventsUndelivered",
    "FailedDelivery",
    "InvalidEvent",
    "ProducerStats",
    "PublishHandle",
    "RegistryUnavailable",
    "Source",
    "TerminalError",
    "TransientError",
    "load_catalog",
    "new_event_id",
]

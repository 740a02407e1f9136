"""The exception tree: what a caller can do about a failure decides its class.

AuditError
├── TransientError        wait and try again; nothing was lost
│   ├── BrokerUnavailable
│   ├── StorageUnavailable
│   └── RegistryUnavailable
├── TerminalError         trying again cannot help; stop and tell an operator
│   ├── StorageRejected
│   ├── SchemaIncompatible
│   └── ConfigError
├── InvalidEvent          this one message's content is wrong; dead-letter it (carries its rule)
│   ├── DecodeError
│   ├── UnknownSchema
│   ├── UnknownAction
│   └── FieldLimitExceeded
├── Backpressure          the caller is faster than the network
│   └── BufferFull
└── QueryError            the reader asked for something that cannot be answered
    ├── BadFilter
    ├── Forbidden
    ├── NotFound
    └── QueryLimitReached
"""

from __future__ import annotations


class AuditError(Exception):
    """Base of every error this project raises on purpose."""


class TransientError(AuditError):
    """Something outside is away: retry with backoff, nothing was lost."""


class BrokerUnavailable(TransientError):
    """Kafka did not answer in time."""


class StorageUnavailable(TransientError):
    """ClickHouse did not answer in time, or said it is overloaded.

    Attributes:
        code: ClickHouse's error code, for example 159 (the query took too long); 0 when it sent none.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class RegistryUnavailable(TransientError):
    """The schema registry did not answer in time."""


class TerminalError(AuditError):
    """Retrying cannot help: an operator has to change something."""


class StorageRejected(TerminalError):
    """ClickHouse answered with an error of its own.

    Attributes:
        code: ClickHouse's error code, for example 60 (unknown table); 0 when it sent none.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class SchemaIncompatible(TerminalError):
    """A schema cannot be used here at all; the message says why (for example: it is recursive)."""


class ConfigError(TerminalError):
    """A setting or a file given by the operator is wrong; the message names it."""


class InvalidEvent(AuditError):
    """One event or message breaks a rule of `auditlog_schemas.rules`.

    Attributes:
        rule: the rule's name, for example ``id_too_long``.
        field: dotted path, for example ``entity.id``; empty when the message as a whole is wrong.
        detail: what was found, in one sentence without line breaks.
    """

    def __init__(self, rule: str, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail} [{rule}]" if field else f"{detail} [{rule}]")
        self.rule = rule
        self.field = field
        self.detail = detail


class DecodeError(InvalidEvent):
    """The bytes are not one Avro value of their writer schema."""


class UnknownSchema(InvalidEvent):
    """The fingerprint or schema id names no schema known here."""


class UnknownAction(InvalidEvent):
    """The action, or this version of it, is not in the catalog."""


class FieldLimitExceeded(InvalidEvent):
    """A field is longer, larger or more numerous than its limit."""


class Backpressure(AuditError):
    """The caller produces faster than the network takes."""


class BufferFull(Backpressure):
    """The producer's buffer stayed full for the whole bounded wait; the event was not taken."""


class QueryError(AuditError):
    """A read that cannot be answered as asked."""


class BadFilter(QueryError):
    """A filter, cursor or limit is malformed; the message names it."""


class Forbidden(QueryError):
    """The reader may not see this."""


class NotFound(QueryError):
    """There is no such thing in this account."""


class QueryLimitReached(QueryError):
    """The answer would take more than one query may; the message names the limit and what to narrow."""

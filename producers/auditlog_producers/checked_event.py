"""From an event to a message that is fit to be sent, or to the reason why it is not; and back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from auditlog_schemas.catalog import Catalog
from auditlog_schemas.codec import (
    CONFLUENT_HEADER_BYTES,
    EVENT_SCHEMA,
    SINGLE_OBJECT_HEADER_BYTES,
    SINGLE_OBJECT_MARK,
    encode,
)
from auditlog_schemas.errors import InvalidEvent
from auditlog_schemas.event import AuditEvent
from auditlog_schemas.own_actions import OWN_PREFIX, UNSIGNED
from auditlog_schemas.record import Record
from auditlog_schemas.resolution import resolve
from auditlog_schemas.rules import require_limits, require_not_ahead
from auditlog_schemas.strict import StrictDecoder

_DECODER: Final = StrictDecoder(resolve(EVENT_SCHEMA))


def checked_record(event: AuditEvent, catalog: Catalog, *, own: bool = False) -> Record:
    """Return the event's record with sensitive values redacted, after every check but the message's size.

    The limits are checked here although `AuditEvent` did when it was made: `model_construct` and a
    `metadata` dict changed afterwards get past the model. Actions of the audit log itself are refused, but
    for the audit log (`own`).

    Raises:
        InvalidEvent: the first broken rule; it names the field.
    """
    try:
        if not isinstance(event.event_id, UUID):
            raise InvalidEvent("bad_uuid", "event_id", f"{event.event_id!r:.40} is not a UUID")
        record = event.to_record()
        require_limits(record)
        catalog.check(record)
        if record["action"].startswith(OWN_PREFIX) and not own:
            detail = f"{record['action']!r:.80}: only the audit log itself publishes {OWN_PREFIX}…"
            raise InvalidEvent(UNSIGNED, "action", detail)
        require_not_ahead(record["occurred_at"], time.time_ns() // 1000)
        return catalog.redact(record)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise _wrong_type(event, error) from error


def encoded(event: AuditEvent, record: Record, schema_id: int | None) -> bytes:
    """Return the message of a checked record.

    Raises:
        InvalidEvent: the message is too large, or a value has a type that Avro cannot write.
    """
    try:
        return encode(record, schema_id)
    except UnicodeEncodeError as error:
        raise _bad_utf8(record) from error
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong_type(event, error) from error


def decoded(message: bytes) -> AuditEvent:
    """Return the event in a message that `encoded` made."""
    single = message.startswith(SINGLE_OBJECT_MARK)
    record: Record = _DECODER.decode(
        message, SINGLE_OBJECT_HEADER_BYTES if single else CONFLUENT_HEADER_BYTES
    )
    return AuditEvent.from_record(record)


def _wrong_type(event: AuditEvent, error: Exception) -> InvalidEvent:
    """Find the field by validating the event again from its parts; only events made unchecked get here."""
    try:
        AuditEvent.parse(event.model_dump(warnings=False))
    except InvalidEvent as found:
        return found
    except Exception:
        return InvalidEvent("wrong_type", "", f"not an AuditEvent: {error}")
    return InvalidEvent("wrong_type", "", str(error))


def _bad_utf8(record: Record) -> InvalidEvent:
    for path, text in _texts("", record):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            code = ord(text[error.start])
            return InvalidEvent("bad_utf8", path, f"has the lone surrogate U+{code:04X} at {error.start}")
    return InvalidEvent("bad_utf8", "", "a text cannot be written as UTF-8")


def _texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield every text in a record with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(f"{path}[{index}]", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            below = f"metadata[{key!r:.60}]" if path == "metadata" else f"{path}.{key}".lstrip(".")
            yield below, key
            yield from _texts(below, item)

"""The wire codec: an event's record to bytes and back, in both framings.

Framings, told apart by their first bytes:

- single-object encoding (Avro 1.12 specification, "Single-object encoding"): ``C3 01``, the writer schema's
  CRC-64-AVRO fingerprint as 8 little-endian bytes, the Avro body. Needs no registry; the default.
- Confluent: ``00``, the schema's id in a registry as 4 big-endian bytes, the Avro body.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from importlib.resources import files
from io import BytesIO
from typing import Final

import fastavro

from auditlog_schemas.errors import DecodeError, FieldLimitExceeded, UnknownSchema
from auditlog_schemas.fingerprints import hamba_fingerprint, schema_fingerprint
from auditlog_schemas.limits import MESSAGE_BYTES_MAX
from auditlog_schemas.plan import Node
from auditlog_schemas.record import Record
from auditlog_schemas.resolution import Schema, resolve
from auditlog_schemas.schema_ids import PLANS_MAX, Answer, SchemaIds, SchemaLookup, Unusable
from auditlog_schemas.strict import StrictDecoder

SINGLE_OBJECT_MARK: Final = b"\xc3\x01"
SINGLE_OBJECT_HEADER_BYTES: Final = 10
CONFLUENT_MARK: Final = b"\x00"
CONFLUENT_HEADER_BYTES: Final = 5

EVENT_SCHEMA: Final[Schema] = json.loads((files("auditlog_schemas") / "audit_event.avsc").read_text("utf-8"))
_PARSED: Final = fastavro.parse_schema(EVENT_SCHEMA)
EVENT_FINGERPRINT: Final = schema_fingerprint(EVENT_SCHEMA)
_SINGLE_OBJECT_HEADER: Final = SINGLE_OBJECT_MARK + EVENT_FINGERPRINT


def encode(record: Record, schema_id: int | None = None) -> bytes:
    """Return an event's message: single-object encoding, or Confluent framing when `schema_id` is given.

    Raises:
        FieldLimitExceeded: rule ``message_too_large``.
    """
    header = _SINGLE_OBJECT_HEADER if schema_id is None else struct.pack(">bI", 0, schema_id)
    out = BytesIO()
    out.write(header)
    fastavro.schemaless_writer(out, _PARSED, record)
    message = out.getvalue()
    require_message_size(message)
    return message


def require_message_size(message: bytes) -> None:
    """Check a message against the limit for a whole message.

    Raises:
        FieldLimitExceeded: rule ``message_too_large``.
    """
    if len(message) > MESSAGE_BYTES_MAX:
        found = f"has {len(message):,} bytes, allowed are {MESSAGE_BYTES_MAX:,}"
        raise FieldLimitExceeded("message_too_large", "", f"the message {found}")


class WriterSchemas:
    """The writers' schemas that messages may have been written with, each resolved to the event's schema.

    Known from the start are the built-in schema and `extra` ones (older or newer versions of it), each by the
    specification's fingerprint and by the one that Go's hamba/avro writes; schemas named by id are asked of
    the `lookup`.

    Attributes:
        by_id: what ids stand for.
    """

    def __init__(self, extra: Iterable[Schema] = (), lookup: SchemaLookup | None = None) -> None:
        """Resolve all schemas now.

        Raises:
            SchemaIncompatible: an extra schema cannot be read as the event's schema.
        """
        self.by_id = SchemaIds(lookup, EVENT_SCHEMA)
        self._by_fingerprint: dict[bytes, Node] = {}
        for schema in (EVENT_SCHEMA, *extra):
            plan = resolve(schema, EVENT_SCHEMA)
            for known in (schema_fingerprint(schema), hamba_fingerprint(schema)):
                # The first one stays: a copy of the built-in schema changes nothing.
                self._by_fingerprint.setdefault(known, plan)

    def split(self, message: bytes, answer: Callable[[int], Answer] | None = None) -> tuple[Node, int]:
        """Return the plan of the message's writer schema and the offset at which its Avro body starts.

        Args:
            message: at least its header.
            answer: what schema ids stand for; the registry is asked when it is not given.

        Raises:
            DecodeError: rules ``empty_message``, ``unknown_framing``, ``truncated``.
            UnknownSchema: rules ``unknown_fingerprint``, ``unknown_schema_id``, ``schema_incompatible``.
            RegistryUnavailable: the registry is needed and away.
        """
        if message.startswith(SINGLE_OBJECT_MARK):
            return self._by_header_fingerprint(message), SINGLE_OBJECT_HEADER_BYTES
        if message.startswith(CONFLUENT_MARK):
            return self._by_header_id(message, answer or self.by_id.ask), CONFLUENT_HEADER_BYTES
        if not message:
            raise DecodeError("empty_message", "", "the message has no bytes")
        raise DecodeError(
            "unknown_framing",
            "",
            f"starts with {message[:2].hex(' ')}, expected c3 01 (single object) or 00 (Confluent)",
        )

    def _by_header_fingerprint(self, message: bytes) -> Node:
        header = message[2:SINGLE_OBJECT_HEADER_BYTES]
        if len(header) < 8:
            raise DecodeError("truncated", "", f"ends inside the header, at byte {len(message)}")
        plan = self._by_fingerprint.get(header)
        if plan is None:
            raise UnknownSchema(
                "unknown_fingerprint", "", f"no known schema has the fingerprint {header.hex()}"
            )
        return plan

    def _by_header_id(self, message: bytes, answer: Callable[[int], Answer]) -> Node:
        header = message[1:CONFLUENT_HEADER_BYTES]
        if len(header) < 4:
            raise DecodeError("truncated", "", f"ends inside the header, at byte {len(message)}")
        schema_id = int.from_bytes(header, "big")
        found = answer(schema_id)
        if isinstance(found, Unusable):
            raise UnknownSchema(found.rule, "", f"schema id {schema_id}: {found.why}")
        return found


class MessageDecoder:
    """Decodes single messages of any known writer schema into records of the event's schema."""

    def __init__(self, schemas: WriterSchemas) -> None:
        self._schemas = schemas
        self._decoders: dict[int, tuple[Node, StrictDecoder]] = {}

    def decode(self, message: bytes | None, answer: Callable[[int], Answer] | None = None) -> Record:
        """Return the record in a message; None is a tombstone.

        Args:
            message: the value as Kafka gives it.
            answer: as in `WriterSchemas.split`.

        Raises:
            InvalidEvent: the bytes are not one event (`WriterSchemas.split`, `StrictDecoder.decode`), rule
                ``tombstone``, or rule ``message_too_large``.
            RegistryUnavailable: the registry is needed and away; nothing is known about the message yet.
        """
        if message is None:
            raise DecodeError("tombstone", "", "the message has a null value; audit events are never deleted")
        require_message_size(message)
        plan, start = self._schemas.split(message, answer)
        record: Record = self._decoder(plan).decode(message, start)
        return record

    def _decoder(self, plan: Node) -> StrictDecoder:
        # Keyed by identity: hashing a plan would walk the whole tree for every message.
        if id(plan) not in self._decoders:
            if len(self._decoders) >= PLANS_MAX:
                self._decoders.clear()
            self._decoders[id(plan)] = (plan, StrictDecoder(plan))
        return self._decoders[id(plan)][1]

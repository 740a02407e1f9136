"""The wire codec: both framings, and every flaw of a header."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from auditlog_schemas import codec
from auditlog_schemas.codec import EVENT_SCHEMA, MessageDecoder, WriterSchemas, encode
from auditlog_schemas.errors import InvalidEvent, RegistryUnavailable, SchemaIncompatible
from auditlog_schemas.event import AuditEvent
from auditlog_schemas.fingerprints import schema_fingerprint
from auditlog_schemas.limits import MESSAGE_BYTES_MAX
from kit.event_strategies import EVENTS, full_record


class Lookup:
    """A registry as the codec sees it; counts how often it is asked."""

    def __init__(self, schemas: dict[int, Any]) -> None:
        self.schemas = schemas
        self.asked: list[int] = []

    def schema_by_id(self, schema_id: int) -> Any:
        self.asked.append(schema_id)
        return self.schemas.get(schema_id)


def decoder(**schemas: Any) -> MessageDecoder:
    known: dict[int, Any] = {7: EVENT_SCHEMA, **{int(key[1:]): schema for key, schema in schemas.items()}}
    return MessageDecoder(WriterSchemas(lookup=Lookup(known)))


def rule_of(message: bytes | None) -> str:
    with pytest.raises(InvalidEvent) as caught:
        decoder().decode(message)
    return caught.value.rule


@given(EVENTS)
def test_single_object_round_trip(event: AuditEvent) -> None:
    message = encode(event.to_record())
    assert message[:2] == b"\xc3\x01"
    record = decoder().decode(message)
    assert record == event.to_record()
    assert AuditEvent.from_record(record) == event


@given(EVENTS)
def test_confluent_round_trip(event: AuditEvent) -> None:
    message = encode(event.to_record(), schema_id=7)
    assert message[:5] == b"\0\0\0\0\x07"
    assert decoder().decode(message) == event.to_record()


def test_the_largest_schema_id_is_written_unsigned() -> None:
    assert encode(full_record(), schema_id=0xFFFFFFFE)[:5] == b"\0\xff\xff\xff\xfe"


def test_the_fingerprint_stands_little_endian_in_the_header() -> None:
    assert encode(full_record())[2:10] == codec.EVENT_FINGERPRINT == schema_fingerprint(EVENT_SCHEMA)


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (None, "tombstone"),
        (b"", "empty_message"),
        (b"\xc3", "unknown_framing"),
        (b"\xc3\x02", "unknown_framing"),
        (b'{"event_id":', "unknown_framing"),
        (b"\xc3\x01", "truncated"),
        (b"\xc3\x01" + bytes(7), "truncated"),
        (b"\xc3\x01" + bytes(8), "unknown_fingerprint"),
        (b"\0", "truncated"),
        (b"\0\0\0\0", "truncated"),
        (b"\0\0\0\0\x08", "unknown_schema_id"),
        (b"\0\0\0\0\x07", "truncated"),
        (bytes(MESSAGE_BYTES_MAX + 1), "message_too_large"),
    ],
)
def test_a_flawed_header_has_its_own_rule(message: bytes | None, rule: str) -> None:
    assert rule_of(message) == rule


def test_a_message_may_have_exactly_the_largest_size() -> None:
    record = full_record() | {"metadata": {"pad": ""}}
    room = MESSAGE_BYTES_MAX - len(encode(record)) - 2  # The length of the padding then takes 3 bytes.
    record["metadata"] = {"pad": "x" * room}
    assert len(encode(record)) == MESSAGE_BYTES_MAX
    record["metadata"] = {"pad": "x" * (room + 1)}
    with pytest.raises(InvalidEvent, match="message_too_large"):
        encode(record)


def test_without_a_registry_a_schema_id_is_unknown() -> None:
    with pytest.raises(InvalidEvent, match="no schema registry is configured"):
        MessageDecoder(WriterSchemas()).decode(b"\0\0\0\0\x07")


def test_an_unusable_schema_of_the_registry_is_asked_for_once() -> None:
    lookup = Lookup({9: "long"})
    messages = MessageDecoder(WriterSchemas(lookup=lookup))
    for _ in range(2):
        with pytest.raises(InvalidEvent, match="schema_incompatible"):
            messages.decode(b"\0\0\0\0\x09")
    assert lookup.asked == [9]


def test_a_registry_that_is_away_is_no_flaw_of_the_message() -> None:
    class Away:
        def schema_by_id(self, schema_id: int) -> Any:
            raise RegistryUnavailable(f"no answer about {schema_id}")

    with pytest.raises(RegistryUnavailable):
        MessageDecoder(WriterSchemas(lookup=Away())).decode(b"\0\0\0\0\x07")


def test_an_older_writers_schema_fills_in_defaults() -> None:
    older = EVENT_SCHEMA | {"fields": [f for f in EVENT_SCHEMA["fields"] if f["name"] != "metadata"]}
    message = b"\xc3\x01" + schema_fingerprint(older) + encode(full_record() | {"metadata": {}})[10:-1]
    record = MessageDecoder(WriterSchemas(extra=[older])).decode(message)
    assert record == full_record() | {"metadata": {}}


def test_an_extra_schema_that_does_not_resolve_is_refused_at_once() -> None:
    with pytest.raises(SchemaIncompatible, match="AuditEvent is wanted"):
        WriterSchemas(extra=["string"])

"""One message of every kind that must be dead-lettered, with the rule it breaks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, NamedTuple

import fastavro

from auditlog_schemas import limits
from auditlog_schemas.codec import EVENT_SCHEMA, SINGLE_OBJECT_HEADER_BYTES, encode
from auditlog_schemas.record import Record, micros_of
from kit.events import make_record

_PARSED = fastavro.parse_schema(EVENT_SCHEMA)


class BadMessage(NamedTuple):
    """`name` tells what is wrong, `rule` and `reason` are what the dead letter must say."""

    name: str
    value: bytes | None
    rule: str
    reason: str


def _encoded(record: Record) -> bytes:
    """Encode without any check, as a producer in another language might."""
    out = BytesIO()
    out.write(encode(make_record())[:SINGLE_OBJECT_HEADER_BYTES])
    fastavro.schemaless_writer(out, _PARSED, record)
    return out.getvalue()


def _entity(**changed: Any) -> dict[str, Any]:
    return {"type": "license", "id": "lic_1", "name": None} | changed


def _change(**changed: Any) -> dict[str, Any]:
    return {"field": "seats", "before": "1", "after": "2"} | changed


def _nested(outer: str, **changed: Any) -> Record:
    record = make_record()
    return record | {outer: record[outer] | changed}


def _undecodable() -> Iterator[tuple[str, bytes | None, str]]:
    good = _encoded(make_record())
    yield "tombstone", None, "tombstone"
    yield "empty", b"", "empty_message"
    yield "garbage", b"not avro at all", "unknown_framing"
    yield "only half a header", good[:6], "truncated"
    yield "truncated", good[:-1], "truncated"
    yield "trailing bytes", good + b"\x00", "trailing_bytes"
    yield "bad UTF-8", good.replace(b"acc_1", b"acc\xff1"), "bad_utf8"
    yield "bad UUID", _encoded(make_record(event_id="x" * 36)), "bad_uuid"
    yield "length beyond the message", good[:10] + b"\xfe\xff\xff\xff\x0f", "length_beyond_message"


def _over_limits() -> Iterator[tuple[str, bytes | None, str]]:
    long_id, long_text = "i" * (limits.ID_BYTES_MAX + 1), "t" * (limits.TEXT_BYTES_MAX + 1)
    value = "v" * (limits.CHANGE_VALUE_BYTES_MAX + 1)
    related = [_entity()] * (limits.RELATED_MAX + 1)
    changes = [_change()] * (limits.CHANGES_MAX + 1)
    keys = {f"k{i}": "v" for i in range(limits.METADATA_KEYS_MAX + 1)}
    long_key = {"k" * (limits.METADATA_KEY_BYTES_MAX + 1): "v"}
    long_value = {"k": "v" * (limits.METADATA_VALUE_BYTES_MAX + 1)}
    big = [_change(before="v" * 30_000, after="v" * 30_000)] * 5
    yield "account id too long", _encoded(make_record(account_id=long_id)), "id_too_long"
    yield "account id empty", _encoded(make_record(account_id="")), "id_empty"
    yield "NUL in an id", _encoded(make_record(account_id="a\0b")), "id_control_character"
    yield "CR/LF in an id", _encoded(_nested("entity", id="lic\r\n1")), "id_control_character"
    yield "entity id too long", _encoded(_nested("entity", id=long_id)), "id_too_long"
    yield "entity name too long", _encoded(_nested("entity", name=long_text)), "text_too_long"
    yield "actor id too long", _encoded(_nested("actor", id=long_id)), "id_too_long"
    yield "actor name too long", _encoded(_nested("actor", name=long_text)), "text_too_long"
    yield "user agent too long", _encoded(_nested("context", user_agent=long_text)), "text_too_long"
    yield "negative sequence", _encoded(_nested("source", sequence=-1)), "sequence_negative"
    yield "too many related", _encoded(make_record(related=related)), "too_many_related"
    yield "too many changes", _encoded(make_record(changes=changes)), "too_many_changes"
    yield "change too long", _encoded(make_record(changes=[_change(after=value)])), "change_value_too_long"
    yield "too many keys", _encoded(make_record(metadata=keys)), "too_many_metadata_keys"
    yield "key too long", _encoded(make_record(metadata=long_key)), "metadata_key_too_long"
    yield "value too long", _encoded(make_record(metadata=long_value)), "metadata_value_too_long"
    yield "message too large", _encoded(make_record(changes=big)), "message_too_large"
    before = limits.OCCURRED_AT_MIN_MICROS - 1
    yield "before 2000", _encoded(make_record(occurred_at=before)), "occurred_too_early"


def _unknown_actions() -> Iterator[tuple[str, bytes | None, str]]:
    yield "unknown action", _encoded(make_record(action="license_eaten")), "unknown_action"
    yield "unknown version", _encoded(make_record(action_version=9)), "unknown_action_version"


def _invalid() -> Iterator[tuple[str, bytes | None, str]]:
    ahead = micros_of(datetime.now(UTC) + timedelta(minutes=30))
    borrowed = {"action": "device_borrowed", "entity": _entity(type="device"), "related": []}
    yield "wrong entity type", _encoded(_nested("entity", type="order")), "wrong_entity_type"
    yield "missing change", _encoded(make_record(changes=[])), "changes_missing"
    yield "missing metadata", _encoded(make_record(action="license_user_assigned")), "metadata_missing"
    yield "missing related", _encoded(make_record(**borrowed)), "related_missing"
    unknown = [_entity(type="license/lic", id="1")]
    yield "unknown related type", _encoded(make_record(related=unknown)), "unknown_related_type"
    yield "clock ahead", _encoded(make_record(occurred_at=ahead)), "occurred_too_far_ahead"
    yield "year 200000", _encoded(make_record(occurred_at=1 << 62)), "occurred_too_far_ahead"


def bad_messages() -> list[BadMessage]:
    """Return them all, made now: one is wrong because of the time."""
    fingerprint = encode(make_record())
    unknown = fingerprint[:2] + bytes(8) + fingerprint[10:]
    return [
        *(BadMessage(*kind, "undecodable") for kind in _undecodable()),
        BadMessage("unknown fingerprint", unknown, "unknown_fingerprint", "unknown_schema"),
        BadMessage("schema id without a registry", b"\0\0\0\0\7x", "unknown_schema_id", "unknown_schema"),
        *(BadMessage(*kind, "limit_exceeded") for kind in _over_limits()),
        *(BadMessage(*kind, "unknown_action") for kind in _unknown_actions()),
        *(BadMessage(*kind, "invalid") for kind in _invalid()),
    ]

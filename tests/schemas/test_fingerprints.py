"""The fingerprints of schemas: the specification's, compared with fastavro's, and that of Go's hamba/avro.

What hamba/avro gives was made with its v2.31.0, in Go 1.26: `soe.ComputeFingerprint(avro.MustParse(schema))`
for a fingerprint, and for the message `soe.NewCodec` of `audit_event.avsc` and `Encode` of a struct with the
event of docs/wire-format.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form

from auditlog_schemas.codec import EVENT_FINGERPRINT, EVENT_SCHEMA, MessageDecoder, WriterSchemas
from auditlog_schemas.columnar_events import EventDecoder
from auditlog_schemas.errors import SchemaIncompatible
from auditlog_schemas.event import AuditEvent
from auditlog_schemas.fingerprints import hamba_fingerprint, schema_fingerprint
from kit.random_avro import RandomSchema

HAMBA_MESSAGE = bytes.fromhex(
    "c301093854c86c49d8054830313932663361342d356236632d376438652d396661302d6231633264336534663530360c6163635f34"
    "3280e19fe6bb9aa4061e6c6963656e73655f75706461746564020e6c6963656e73650a6c69635f37020650726f011a0a6f72646572"
    "0a6f72645f3300000873686f700a7765622d31d804020a6b65795f3502044349000002163230332e302e3131332e390000011a0a73"
    "656174730202350204313000011e0c726561736f6e0e7570677261646500"
)


def field(name: str, type: Any) -> dict[str, Any]:
    return {"name": name, "type": type}


def fixed(name: str, size: int, **logical: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **logical}


EVERY_KIND = {
    "type": "record",
    "name": "R",
    "namespace": "a.b",
    "doc": "left out",
    "fields": [
        field("a", fixed("D", 12, logicalType="duration")),
        field("b", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
        field("c", {"type": "bytes", "logicalType": "decimal", "precision": 9}),
        field("d", {"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}),
        field("e", fixed("F", 4, logicalType="decimal", precision=9, scale=0)),
        field("f", fixed("G", 4, logicalType="decimal", precision=10, scale=0)),
        field(
            "g",
            ["null", "D", {"type": "int", "logicalType": "date"}, {"type": "string", "logicalType": "uuid"}],
        ),
        field("h", {"type": "map", "values": {"type": "array", "items": "G"}}),
        field("i", {"type": "enum", "name": "x.E", "symbols": ["A", "B"], "default": "A"}),
        field("j", "x.E"),
        field("k", {"type": "long", "logicalType": "timestamp-nanos"}),
        field("l", {"type": "int", "logicalType": "time-millis"}),
        field("m", {"type": "long", "logicalType": "local-timestamp-micros"}),
    ],
}


def test_the_fingerprint_of_null_is_the_specifications() -> None:
    assert schema_fingerprint("null") == (0x63DD24E7CC258F8A).to_bytes(8, "little")


def test_documentation_and_order_of_attributes_do_not_change_a_fingerprint() -> None:
    stripped = {key: value for key, value in reversed(EVENT_SCHEMA.items()) if key != "doc"}
    assert schema_fingerprint(stripped) == EVENT_FINGERPRINT
    assert hamba_fingerprint(stripped) == hamba_fingerprint(EVENT_SCHEMA)


def test_fastavro_gives_the_same() -> None:
    random = Random(7)
    for schema in [EVENT_SCHEMA, *(RandomSchema(random).record(4) for _ in range(300))]:
        expected = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
        assert schema_fingerprint(schema).hex() == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ("null", "8a8f25cce724dd63"),
        ({"type": "long", "logicalType": "timestamp-micros"}, "6b37bc34b4231ad2"),
        ({"type": "long", "logicalType": "uuid"}, "b71df49344e154d0"),
        (EVENT_SCHEMA, "093854c86c49d805"),
        (EVERY_KIND, "b26c67d940c8837f"),
    ],
)
def test_hamba_avro_gives_the_same(schema: Any, expected: str) -> None:
    assert hamba_fingerprint(schema).hex() == expected


def test_without_logical_types_both_are_one() -> None:
    plain = {"type": "record", "name": "R", "fields": [field("a", ["null", "string"]), field("b", "long")]}
    assert hamba_fingerprint(plain) == schema_fingerprint(plain)


def test_what_is_no_schema_has_none() -> None:
    for use in (schema_fingerprint, hamba_fingerprint):
        with pytest.raises(SchemaIncompatible, match="unknown type 'Colour'"):
            use({"type": "array", "items": "Colour"})


def test_a_message_of_hamba_avro_is_read() -> None:
    document = (Path(__file__).parents[2] / "docs" / "wire-format.md").read_text("utf-8")
    event = AuditEvent.parse(json.loads(document.split("```json event\n")[1].split("```")[0]))
    assert HAMBA_MESSAGE[2:10] == hamba_fingerprint(EVENT_SCHEMA)
    assert MessageDecoder(WriterSchemas()).decode(HAMBA_MESSAGE) == event.to_record()
    decoded = EventDecoder(WriterSchemas()).decode([HAMBA_MESSAGE])
    assert (decoded.verdict.tolist(), decoded.good.tolist()) == ([0], [0])


def test_a_schema_that_was_added_is_known_by_both() -> None:
    newer = EVENT_SCHEMA | {
        "fields": [*EVENT_SCHEMA["fields"], {"name": "x", "type": "string", "default": ""}]
    }
    decoder = MessageDecoder(WriterSchemas(extra=[newer]))
    expected = MessageDecoder(WriterSchemas()).decode(HAMBA_MESSAGE)
    for known in (schema_fingerprint(newer), hamba_fingerprint(newer)):
        assert decoder.decode(b"\xc3\x01" + known + HAMBA_MESSAGE[10:] + b"\x02y") == expected

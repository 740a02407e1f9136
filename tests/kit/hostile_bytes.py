"""For every rule about bytes the exact bytes that break it, and values just before they do."""

from __future__ import annotations

from typing import Any

ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
UUID = {"type": "string", "logicalType": "uuid"}
UUID_BYTES = b"H0198f2a0-7c1e-7abc-8def-0123456789ab"
LONGS = {"type": "array", "items": "long"}
STRINGS = {"type": "map", "values": "string"}
NULLS = {"type": "array", "items": "null"}


def record(*types: Any, name: str = "R") -> dict[str, Any]:
    fields = [{"name": f"f{i}", "type": type_} for i, type_ in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields}


CASES: list[tuple[str, Any, bytes, int]] = [
    # rule, writer's schema, bytes, offset named by the error
    ("truncated", "long", b"", 0),
    ("truncated", "long", b"\x80", 1),
    ("truncated", "boolean", b"", 0),
    ("truncated", "float", b"\0\0\0", 0),
    ("truncated", "double", bytes(7), 0),
    ("truncated", {"type": "fixed", "name": "F", "size": 3}, b"ab", 0),
    ("truncated", "string", b"", 0),
    ("truncated", LONGS, b"\x02\x02", 2),
    ("truncated", record("int", "int"), b"\x02", 1),
    ("trailing_bytes", "null", b"\0", 0),
    ("trailing_bytes", "int", b"\x02\x02", 1),
    ("trailing_bytes", LONGS, b"\0\0", 1),
    ("varint_too_long", "long", b"\xff" * 10, 10),
    ("varint_too_long", "long", b"\xff" * 9 + b"\x02", 10),
    ("varint_too_long", "int", b"\x80" * 10 + b"\0", 10),
    ("int_out_of_range", "int", b"\x80\x80\x80\x80\x10", 5),
    ("int_out_of_range", "int", b"\x81\x80\x80\x80\x10", 5),
    ("negative_length", "string", b"\x01", 1),
    ("negative_length", "bytes", b"\xff" * 9 + b"\x01", 10),
    ("negative_length", LONGS, b"\x01\x01\x02\0", 2),
    ("length_beyond_message", "string", b"\x04a", 1),
    ("length_beyond_message", "bytes", b"\xfe" + b"\xff" * 8 + b"\x01", 10),
    ("length_beyond_message", LONGS, b"\x01\x06\x02\0", 2),
    ("enum_index_out_of_range", ENUM, b"\x04", 1),
    ("enum_index_out_of_range", ENUM, b"\x01", 1),
    ("union_index_out_of_range", ["null", "long"], b"\x04\x02", 1),
    ("union_index_out_of_range", ["null", "long"], b"\x01", 1),
    ("bad_boolean", "boolean", b"\x02", 1),
    ("bad_boolean", "boolean", b"\xff", 1),
    ("too_many_items", LONGS, b"\x06\x02\x02", 1),
    ("too_many_items", LONGS, b"\xfe" + b"\xff" * 8 + b"\x01", 10),
    ("too_many_items", LONGS, b"\xff" * 9 + b"\x01\0\0", 11),
    ("too_many_items", STRINGS, b"\x02\0", 1),
    ("zero_size_items", NULLS, b"\x06\0", 1),
    ("zero_size_items", NULLS, b"\xfe" + b"\xff" * 8 + b"\x01\0", 10),
    ("zero_size_items", record(NULLS, NULLS), b"\x04\0\x06\0", 3),
    ("block_size_mismatch", LONGS, b"\x01\x04\x02\0", 3),
    ("block_size_mismatch", LONGS, b"\x01\0\x02\0", 3),
    ("bad_utf8", "string", b"\x02\xff", 2),
    ("bad_utf8", "string", b"\x06\xed\xa0\x80", 4),
    ("bad_utf8", "string", b"\x04\xc0\x80", 3),
    ("bad_utf8", record("string", "string"), b"\x02\xc3\x02\xa9", 2),
    ("bad_utf8", STRINGS, b"\x02\x02\xff\0\0", 3),
    ("bad_uuid", UUID, b"\0", 1),
    ("bad_uuid", UUID, UUID_BYTES.replace(b"7", b"g"), 37),
    ("bad_uuid", UUID, UUID_BYTES.replace(b"-", b"_"), 37),
    ("bad_uuid", UUID, b"@" + UUID_BYTES[1:].replace(b"-", b""), 33),
    ("bad_uuid", UUID, b"H{0198f2a07c1e7abc8def0123456789ab}12", 37),
    ("duplicate_map_key", STRINGS, b"\x04\x02a\0\x02a\0\0", 6),
    ("duplicate_map_key", STRINGS, b"\x02\0\0\x02\0\0\0", 5),
]


LAST_GOOD: list[tuple[Any, bytes, Any]] = [
    # writer's schema, bytes, value
    ("int", b"\xff\xff\xff\xff\x0f", -(1 << 31)),
    ("int", b"\xfe\xff\xff\xff\x0f", (1 << 31) - 1),
    ("long", b"\xff" * 9 + b"\x01", -(1 << 63)),
    ("long", b"\xfe" + b"\xff" * 8 + b"\x01", (1 << 63) - 1),
    ("long", b"\x80\x80\0", 0),
    (LONGS, b"\x03\x04\x02\x04\x02\x06\0", [1, 2, 3]),
    (NULLS, b"\x04\0", [None, None]),
    (UUID, UUID_BYTES.upper(), UUID_BYTES[1:].decode().upper()),
]

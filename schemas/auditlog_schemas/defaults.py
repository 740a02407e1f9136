"""Default values: from the JSON in a schema to the bytes that a writer would have sent.

Source: Apache Avro 1.12 specification, "Complex Types", the table of field default values. Kept as bytes,
a default needs no second reading of its own: both decoders decode it like any value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from auditlog_schemas.expansion import Schema

_INTEGER_BITS = {"int": 32, "long": 64}
_FLOAT_FORMATS = {"float": "<f", "double": "<d"}


def encode_default(schema: Schema, value: Any) -> bytes:
    """Return a default's Avro encoding; a union's default belongs to the first branch that it fits.

    Args:
        schema: the field's type, expanded.
        value: the JSON value; bytes and fixed are strings whose characters stand for one byte each.

    Raises:
        ValueError: the value does not fit the type.
    """
    if isinstance(schema, list):
        return _encode_branch(schema, value)
    kind = schema["type"]
    if kind == "null" and value is None:
        return b""
    if kind == "boolean" and isinstance(value, bool):
        return bytes([value])
    if kind in _INTEGER_BITS and isinstance(value, int) and not isinstance(value, bool):
        return _encode_integer(value, _INTEGER_BITS[kind])
    if kind in _FLOAT_FORMATS and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _encode_float(value, _FLOAT_FORMATS[kind])
    if kind in ("string", "bytes", "fixed", "enum") and isinstance(value, str):
        return _encode_text(schema, value)
    if kind == "array" and isinstance(value, list):
        return _encode_block([encode_default(schema["items"], item) for item in value])
    if kind == "map" and isinstance(value, dict):
        return _encode_block(
            _encode_sized(key.encode()) + encode_default(schema["values"], item)
            for key, item in value.items()
        )
    if kind == "record" and isinstance(value, dict):
        return b"".join(_encode_field(field, value) for field in schema["fields"])
    raise ValueError(f"{value!r:.80} is no {kind}")


def _encode_branch(branches: list[Schema], value: Any) -> bytes:
    for index, branch in enumerate(branches):
        try:
            return _encode_integer(index, 64) + encode_default(branch, value)
        except ValueError:
            continue
    raise ValueError(f"{value!r:.80} fits no branch of the union")


def _encode_field(field: Schema, record: dict[str, Any]) -> bytes:
    if field["name"] in record:
        return encode_default(field["type"], record[field["name"]])
    if "default" in field:
        return encode_default(field["type"], field["default"])
    raise ValueError(f"the record's field {field['name']} is missing")


def _encode_text(schema: Schema, value: str) -> bytes:
    kind = schema["type"]
    if kind == "enum":
        return _encode_integer(schema["symbols"].index(value), 64)
    data = value.encode("utf-8" if kind == "string" else "latin-1")
    if kind != "fixed":
        return _encode_sized(data)
    if len(data) != schema["size"]:
        raise ValueError(f"{len(data)} bytes for a fixed of {schema['size']}")
    return data


def _encode_integer(value: int, bits: int) -> bytes:
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise ValueError(f"{value} does not fit {bits} bits")
    left = (value << 1) ^ (value >> (bits - 1))
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _encode_float(value: float, layout: str) -> bytes:
    try:
        return struct.pack(layout, value)
    except (OverflowError, struct.error) as error:
        raise ValueError(f"{value!r:.80} is out of range") from error


def _encode_sized(data: bytes) -> bytes:
    return _encode_integer(len(data), 64) + data


def _encode_block(items: Iterable[bytes]) -> bytes:
    encoded = list(items)
    return b"".join([_encode_integer(len(encoded), 64) if encoded else b"", *encoded, b"\0"])

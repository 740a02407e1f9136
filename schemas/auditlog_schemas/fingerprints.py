"""The fingerprints that single-object encoding names a schema by.

The specification's (Apache Avro 1.12, "Parsing Canonical Form for Schemas" and "Schema Fingerprints") leaves
out logical types. Go's hamba/avro keeps those that it knows: `schema.go` and `schema_parse.go` of its v2.31.
"""

from __future__ import annotations

import json
from typing import Any, Final

from fastavro.schema import fingerprint

from auditlog_schemas.expansion import Schema, expand

_HAMBA_LOGICAL_TYPES: Final = frozenset(
    {
        ("string", "uuid"),
        ("int", "date"),
        ("int", "time-millis"),
        ("long", "time-micros"),
        ("long", "timestamp-millis"),
        ("long", "timestamp-micros"),
        ("long", "local-timestamp-millis"),
        ("long", "local-timestamp-micros"),
    }
)


def schema_fingerprint(schema: Schema) -> bytes:
    """Return a schema's CRC-64-AVRO fingerprint as the 8 bytes that single-object encoding carries.

    Raises:
        SchemaIncompatible: it is no valid schema; the message names the path.
    """
    return _crc(_Canonical(keeps_logical_types=False).of(expand(schema, "writer")))


def hamba_fingerprint(schema: Schema) -> bytes:
    """Return the 8 bytes that hamba/avro's package `soe` writes for a schema.

    Raises:
        SchemaIncompatible: as above.
    """
    return _crc(_Canonical(keeps_logical_types=True).of(expand(schema, "writer")))


def _crc(canonical: Any) -> bytes:
    text = json.dumps(canonical, ensure_ascii=False, separators=(",", ":"))
    return bytes.fromhex(fingerprint(text, "CRC-64-AVRO"))


class _Canonical:
    """One schema's canonical form as JSON-like data, attributes in their order: a type is defined once."""

    def __init__(self, keeps_logical_types: bool) -> None:
        self._keeps_logical_types = keeps_logical_types
        self._defined: set[str] = set()

    def of(self, schema: Schema) -> Any:
        """Return an expanded type's form."""
        if isinstance(schema, list):
            return [self.of(branch) for branch in schema]
        kind, name = schema["type"], schema.get("name")
        if name in self._defined:
            return name
        if kind == "array":
            return {"type": kind, "items": self.of(schema["items"])}
        if kind == "map":
            return {"type": kind, "values": self.of(schema["values"])}
        logical = _logical_type(schema) if self._keeps_logical_types else {}
        if kind not in ("record", "enum", "fixed"):
            return {"type": kind, **logical} if logical else kind
        self._defined.add(name)
        if kind == "enum":
            return {"name": name, "type": kind, "symbols": schema["symbols"]}
        if kind == "fixed":
            return {"name": name, "type": kind, "size": schema["size"], **logical}
        fields = [{"name": field["name"], "type": self.of(field["type"])} for field in schema["fields"]]
        return {"name": name, "type": kind, "fields": fields}


def _logical_type(schema: Schema) -> dict[str, Any]:
    """Return the attributes of the logical type of a simple type or a fixed, if hamba/avro knows it."""
    kind, logical, size = schema["type"], schema.get("logicalType"), schema.get("size", 0)
    if not isinstance(logical, str):
        return {}
    if (kind, logical) in _HAMBA_LOGICAL_TYPES or (kind, logical, size) == ("fixed", "duration", 12):
        return {"logicalType": logical}
    precision, scale = schema.get("precision", 0), schema.get("scale", 0)
    if logical == "decimal" and kind in ("bytes", "fixed") and type(precision) is type(scale) is int:
        digits_max = len(str((1 << 8 * size) - 1)) - 1 if size else precision
        if 0 < precision <= digits_max and 0 <= scale <= precision:
            return {"logicalType": logical, "precision": precision, **({"scale": scale} if scale else {})}
    return {}
